#include "proto/smtp/scan.h"

static void set_fault(struct smtp_scan *scan, enum smtp_scan_fault fault)
{
    if (scan->fault == SMTP_SCAN_CLEAN)
        scan->fault = fault;
}

static void add_to_line(struct smtp_scan *scan, size_t size)
{
    /* Cannot wrap: a line over the limit is a fault, and its size does not matter then. */
    if (size > scan->line_size_max - scan->line_size) {
        set_fault(scan, SMTP_SCAN_LONG_LINE);
        size = 0;
    }
    scan->line_size += (uint32_t)size;
}

/* Octets of a line that go on behind `in`. */
static void scan_rest(struct smtp_scan *scan, struct str in)
{
    const char *cr = memchr(in.ptr, '\r', in.len);
    bool at_end = in.ptr[in.len - 1] == '\r';
    if (cr && cr + 1 < in.ptr + in.len)
        set_fault(scan, SMTP_SCAN_BARE_CR);
    add_to_line(scan, in.len);
    scan->place = at_end ? SMTP_SCAN_BEHIND_CR : SMTP_SCAN_IN_LINE;
}

/*
 * A whole line, LF included, or the tail of one. Returns false at a bare LF that is to be
 * normalised.
 */
static bool scan_line(struct smtp_scan *scan, struct str line)
{
    const char *cr = memchr(line.ptr, '\r', line.len);
    const char *lf = line.ptr + line.len - 1;
    if (cr && cr + 1 != lf) {
        set_fault(scan, SMTP_SCAN_BARE_CR);
        cr = lf[-1] == '\r' ? lf - 1 : NULL;
    }
    if (!cr && scan->normalise)
        return false;
    if (!cr)
        set_fault(scan, SMTP_SCAN_BARE_LF);
    add_to_line(scan, line.len);
    scan->line_size = cr ? 0 : scan->line_size;
    scan->place = cr ? SMTP_SCAN_LINE_START : SMTP_SCAN_IN_LINE;
    return true;
}

/* The bare LF at the start of `in` becomes CRLF; what stood before it was given out. */
static size_t take_bare_lf(struct smtp_scan *scan, struct str *ret_span)
{
    scan->place = SMTP_SCAN_IN_LINE;
    scan->line_size = 0;
    *ret_span = STR("\r\n");
    return 1;
}

/* Lines from a place inside or at the start of a line; stops before a dot at a line's start. */
static size_t take_lines(struct smtp_scan *scan, struct str in, struct str *ret_span)
{
    size_t used = 0;
    while (used < in.len) {
        struct str rest = str_skip(in, used);
        if (scan->dots && scan->place == SMTP_SCAN_LINE_START && rest.ptr[0] == '.')
            break;
        const char *lf = memchr(rest.ptr, '\n', rest.len);
        if (!lf) {
            scan_rest(scan, rest);
            used = in.len;
            break;
        }
        struct str line = str_make(rest.ptr, (size_t)(lf + 1 - rest.ptr));
        if (!scan_line(scan, line)) {
            used += line.len - 1;
            if (used == 0)
                return take_bare_lf(scan, ret_span);
            add_to_line(scan, line.len - 1);
            scan->place = SMTP_SCAN_IN_LINE;
            break;
        }
        used += line.len;
    }
    *ret_span = str_sub(in, 0, used);
    if (memchr(in.ptr, '\0', used))
        set_fault(scan, SMTP_SCAN_NUL);
    return used;
}

/*
 * The octet at a place where one octet decides. Returns true where it was taken; else the scan is
 * at a place inside a line and the octet belongs to that.
 */
static bool take_deciding_octet(struct smtp_scan *scan, char octet, bool *ret_end)
{
    switch (scan->place) {
    case SMTP_SCAN_LINE_START:
        if (!scan->dots || octet != '.')
            return false;
        scan->place = SMTP_SCAN_BEHIND_DOT;
        return true;
    case SMTP_SCAN_BEHIND_DOT:
        scan->place = octet == '\r' ? SMTP_SCAN_BEHIND_DOT_CR : SMTP_SCAN_IN_LINE;
        return octet == '\r';
    case SMTP_SCAN_BEHIND_DOT_CR:
        *ret_end = octet == '\n';
        if (!*ret_end) {
            set_fault(scan, SMTP_SCAN_BARE_CR);
            scan->place = SMTP_SCAN_IN_LINE;
        }
        return *ret_end;
    case SMTP_SCAN_BEHIND_CR:
        if (octet != '\n') {
            set_fault(scan, SMTP_SCAN_BARE_CR);
            scan->place = SMTP_SCAN_IN_LINE;
        }
        return false;
    case SMTP_SCAN_IN_LINE:
        break;
    }
    return false;
}

/* The LF behind a CR that was given out before. */
static void finish_line(struct smtp_scan *scan)
{
    add_to_line(scan, 1);
    scan->line_size = 0;
    scan->place = SMTP_SCAN_LINE_START;
}

size_t smtp_scan_take(struct smtp_scan *scan, struct str in, struct str *ret_span, bool *ret_end)
{
    size_t used = 1;
    *ret_end = false;
    *ret_span = str_sub(in, 0, 0);
    if (scan->binary) {
        *ret_span = in;
        return in.len;
    }
    if (!take_deciding_octet(scan, in.ptr[0], ret_end)) {
        if (scan->place == SMTP_SCAN_BEHIND_CR) {
            finish_line(scan);
            *ret_span = str_sub(in, 0, 1);
        } else {
            used = take_lines(scan, in, ret_span);
        }
    }
    if (scan->fault != SMTP_SCAN_CLEAN)
        *ret_span = str_sub(in, 0, 0);
    return used;
}

void smtp_scan_finish(struct smtp_scan *scan)
{
    if (scan->place == SMTP_SCAN_BEHIND_CR)
        set_fault(scan, SMTP_SCAN_BARE_CR);
}
