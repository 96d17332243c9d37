#include "auth/mtasts.h"

enum { ID_LEN_MAX = 32, NAME_LEN_MAX = 32, DAY_MS = 86400000 };

/* RFC 8461 §3.2: "a plaintext non-negative integer seconds, maximum value of 31557600". */
static const uint64_t max_age_s_max = 31557600;

static bool is_alnum(char c)
{
    return ascii_is_alpha(c) || ascii_is_digit(c);
}

/* sts-ext-name = (ALPHA / DIGIT) *31(ALPHA / DIGIT / "_" / "-" / ".") */
static bool is_name(struct str s)
{
    if (s.len == 0 || s.len > NAME_LEN_MAX || !is_alnum(s.ptr[0]))
        return false;
    for (size_t i = 1; i < s.len; i++)
        if (!is_alnum(s.ptr[i]) && str_find_byte(STR("_-."), s.ptr[i]) < 0)
            return false;
    return true;
}

/* ---- The record -------------------------------------------------------------------------------
 */

/*
 * RFC 8461 §3.1:
 *   sts-text-record = sts-version 1*(sts-field-delim sts-field) [sts-field-delim]
 *   sts-field       = sts-id / sts-extension
 *   sts-field-delim = *WSP ";" *WSP
 *   sts-version     = %s"v=STSv1"
 *   sts-id          = %s"id=" 1*32(ALPHA / DIGIT)
 *   sts-ext-value   = 1*(%x21-3A / %x3C / %x3E-7E)
 */
static bool is_version(struct str record)
{
    struct str version;
    bool has_more = str_find_byte(record, ';') >= 0;
    return has_more && str_split(&record, ';', &version) && str_starts(version, STR("v=STSv1")) &&
           str_eq(str_trim(version), STR("v=STSv1"));
}

static bool is_id(struct str value)
{
    bool ok = value.len > 0 && value.len <= ID_LEN_MAX;
    for (size_t i = 0; ok && i < value.len; i++)
        ok = is_alnum(value.ptr[i]);
    return ok;
}

static bool is_extension(struct str name, struct str value)
{
    bool ok = is_name(name) && value.len > 0;
    for (size_t i = 0; ok && i < value.len; i++)
        ok = value.ptr[i] > ' ' && value.ptr[i] <= '~' && value.ptr[i] != '=';
    return ok;
}

static bool read_record(struct str record, struct str *ret_id)
{
    struct str field, id = STR("");
    str_split(&record, ';', &field);
    while (str_split(&record, ';', &field)) {
        field = str_trim(field);
        ptrdiff_t equals = str_find_byte(field, '=');
        if (field.len == 0 && str_empty(record))
            break;
        if (equals < 0)
            return false;
        struct str name = str_sub(field, 0, (size_t)equals);
        struct str value = str_skip(field, (size_t)equals + 1);
        if (!str_eq(name, STR("id"))) {
            if (!is_extension(name, value))
                return false;
        } else if (!is_id(value)) {
            return false;
        } else if (str_empty(id)) {
            id = value;
        }
    }
    *ret_id = id;
    return !str_empty(id);
}

bool mtasts_record_read(const struct dns_facts *facts, struct str *ret_id)
{
    const struct dns_row *record = NULL;
    for (size_t i = 0; facts->outcome == DNS_OK && i < facts->row_count; i++) {
        if (!is_version(facts->rows[i].data))
            continue;
        if (record)
            return false;
        record = &facts->rows[i];
    }
    return record && read_record(record->data, ret_id);
}

/* ---- The policy -------------------------------------------------------------------------------
 */

/*
 * RFC 8461 §3.2:
 *   sts-policy-record = sts-policy-field *WSP *(sts-policy-term sts-policy-field *WSP)
 *                       [sts-policy-term]
 *   sts-policy-field  = name ":" *WSP value
 *   sts-policy-term   = LF / CRLF
 * False behind the last line. An empty line is a field without a name.
 */
static bool next_field(struct str *rest, struct str *ret_name, struct str *ret_value)
{
    struct str line;
    if (!str_split(rest, '\n', &line))
        return false;
    if (str_ends(line, STR("\r")))
        line.len--;
    ptrdiff_t colon = str_find_byte(line, ':');
    *ret_name = str_sub(line, 0, colon < 0 ? 0 : (size_t)colon);
    *ret_value = colon < 0 ? STR("") : str_trim(str_skip(line, (size_t)colon + 1));
    return true;
}

bool mtasts_next_mx(struct str *rest, struct str *ret_pattern)
{
    struct str name;
    while (next_field(rest, &name, ret_pattern))
        if (str_eq(name, STR("mx")))
            return true;
    return false;
}

/* RFC 5321 §4.1.2: Domain = sub-domain *("." sub-domain) */
static bool is_domain(struct str s)
{
    struct str label;
    bool ok = s.len > 0 && s.len <= 253 && !str_ends(s, STR("."));
    while (ok && str_split(&s, '.', &label)) {
        ok = label.len > 0 && label.len <= 63 && is_alnum(label.ptr[0]) &&
             is_alnum(label.ptr[label.len - 1]);
        for (size_t i = 0; ok && i < label.len; i++)
            ok = is_alnum(label.ptr[i]) || label.ptr[i] == '-';
    }
    return ok;
}

static bool is_mx(struct str s)
{
    return is_domain(str_starts(s, STR("*.")) ? str_skip(s, 2) : s);
}

static bool read_mode(struct str value, enum mtasts_mode *ret_mode)
{
    static const char *const names[] = {
        [MTASTS_NONE] = "none", [MTASTS_TESTING] = "testing", [MTASTS_ENFORCE] = "enforce"};
    for (int i = 0; i < 3; i++) {
        if (str_eq(value, str_from_c(names[i]))) {
            *ret_mode = (enum mtasts_mode)i;
            return true;
        }
    }
    return false;
}

struct reading {
    struct mtasts_policy policy;
    bool version, mode, max_age;
    size_t mx_count;
    struct diag *diag;
};

static bool complain(struct reading *r, const char *words, struct str value)
{
    diag_set(r->diag, "%s: \"%.*s\"", words, STR_ARG(str_sub(value, 0, 60)));
    return false;
}

/* "all entries except for the first SHOULD be ignored", but of mx (§3.2). */
static bool read_field(struct reading *r, struct str name, struct str value)
{
    if (str_eq(name, STR("version"))) {
        if (!r->version && !str_eq(value, STR("STSv1")))
            return complain(r, "unknown version", value);
        r->version = true;
    } else if (str_eq(name, STR("mode"))) {
        if (!r->mode && !read_mode(value, &r->policy.mode))
            return complain(r, "unknown mode", value);
        r->mode = true;
    } else if (str_eq(name, STR("max_age"))) {
        if (!r->max_age && (value.len > 10 || !str_to_u64(value, UINT64_MAX, &r->policy.max_age_s)))
            return complain(r, "wrong max_age", value);
        r->max_age = true;
    } else if (str_eq(name, STR("mx"))) {
        if (!is_mx(value))
            return complain(r, "wrong mx", value);
        r->mx_count++;
    } else if (!is_name(name)) {
        return complain(r, "a line that is no field", name);
    }
    return true;
}

static bool is_complete(struct reading *r)
{
    const char *missing = !r->version                                         ? "version"
                          : !r->mode                                          ? "mode"
                          : !r->max_age                                       ? "max_age"
                          : r->mx_count == 0 && r->policy.mode != MTASTS_NONE ? "mx"
                                                                              : NULL;
    if (missing)
        diag_set(r->diag, "%s is missing", missing);
    return !missing;
}

/* Without the line ends and spaces behind the last line. */
static struct str without_end(struct str text)
{
    while (text.len > 0 && str_find_byte(STR(" \t\r\n"), text.ptr[text.len - 1]) >= 0)
        text.len--;
    return text;
}

bool mtasts_policy_read(struct str text, struct mtasts_policy *ret_policy, struct diag *diag)
{
    struct reading r = {.policy.text = text, .diag = diag};
    struct str rest = without_end(text), name, value;
    if (text.len > MTASTS_POLICY_SIZE_MAX) {
        diag_set(diag, "more than %d octets", MTASTS_POLICY_SIZE_MAX);
        return false;
    }
    while (next_field(&rest, &name, &value))
        if (!read_field(&r, name, value))
            return false;
    if (!is_complete(&r))
        return false;
    if (r.policy.max_age_s > max_age_s_max)
        r.policy.max_age_s = max_age_s_max;
    *ret_policy = r.policy;
    return true;
}

/* ---- Hosts -------------------------------------------------------------------------------------
 */

static bool pattern_has(struct str pattern, struct str host)
{
    if (!str_starts(pattern, STR("*.")))
        return str_eq_nocase(pattern, host);
    ptrdiff_t dot = str_find_byte(host, '.');
    return dot > 0 && str_eq_nocase(str_skip(pattern, 1), str_skip(host, (size_t)dot));
}

bool mtasts_names_host(const struct mtasts_policy *policy, struct str host)
{
    struct str rest = policy->text, pattern;
    while (mtasts_next_mx(&rest, &pattern))
        if (pattern_has(pattern, host))
            return true;
    return false;
}

enum mtasts_verdict mtasts_check_host(const struct mtasts_policy *policy, struct str host)
{
    if (policy->mode == MTASTS_NONE)
        return MTASTS_FREE;
    if (policy->mode == MTASTS_TESTING)
        return MTASTS_WATCH;
    return mtasts_names_host(policy, host) ? MTASTS_VERIFY : MTASTS_NOT_NAMED;
}

enum mtasts_age mtasts_age_of(const struct mtasts_policy *policy, struct str kept_id,
                              int64_t age_ms, struct str record_id)
{
    int64_t max_age_ms = (int64_t)policy->max_age_s * 1000;
    int64_t refresh_ms = max_age_ms / 2 < DAY_MS ? max_age_ms / 2 : DAY_MS;
    if (age_ms >= max_age_ms)
        return MTASTS_EXPIRED;
    if (age_ms >= refresh_ms || (!str_empty(record_id) && !str_eq(record_id, kept_id)))
        return MTASTS_REFRESH;
    return MTASTS_FRESH;
}
