#include "codec/date.h"

enum { DAY_S = 86400, ZONE_MINUTES_MAX = 24 * 60 - 1 };

/* 0000-01-01 and 9999-12-31 23:59:59.999. */
static const int64_t ms_min = -62167219200000, ms_max = 253402300799999;

static const char month_names[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
static const char day_names[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};

/* ---- Calendar ----------------------------------------------------------------------------- */

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/*
 * Days since 1970-01-01. The year is made to begin in March, so that the leap day is its last; an
 * era is the 400 years after which the calendar repeats (146,097 days).
 */
static int64_t days_from_civil(int year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = floor_div(y, 400);
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static void civil_set_day(struct civil *c, int64_t days)
{
    int64_t z = days + 719468;
    int64_t era = floor_div(z, 146097);
    int64_t doe = z - era * 146097;
    int64_t year_of_era = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t day_of_year = doe - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month = (5 * day_of_year + 2) / 153;
    c->day = (int)(day_of_year - (153 * month + 2) / 5 + 1);
    c->month = (int)(month < 10 ? month + 3 : month - 9);
    c->year = (int)(year_of_era + era * 400 + (c->month <= 2));
    c->weekday = (int)((days % 7 + 11) % 7); /* 1970-01-01 was a Thursday */
}

struct civil civil_from_ms(int64_t wall_ms, int zone_minutes)
{
    struct civil c = {.zone_minutes = zone_minutes};
    int64_t shift_ms = (int64_t)zone_minutes * 60000;
    int64_t low = ms_min - shift_ms, high = ms_max - shift_ms;
    wall_ms = wall_ms < low ? low : wall_ms > high ? high : wall_ms;
    int64_t seconds = floor_div(wall_ms + shift_ms, 1000);
    int64_t days = floor_div(seconds, DAY_S);
    int of_day = (int)(seconds - days * DAY_S);
    civil_set_day(&c, days);
    c.hour = of_day / 3600;
    c.minute = of_day / 60 % 60;
    c.second = of_day % 60;
    return c;
}

static int days_in_month(int year, int month)
{
    static const int days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return days[month - 1] + (month == 2 && leap);
}

bool civil_to_ms(const struct civil *c, int64_t *ret_ms)
{
    if (c->year < 0 || c->year > 9999 || c->month < 1 || c->month > 12)
        return false;
    if (c->day < 1 || c->day > days_in_month(c->year, c->month))
        return false;
    if (c->hour < 0 || c->hour > 23 || c->minute < 0 || c->minute > 59)
        return false;
    if (c->second < 0 || c->second > 60)
        return false;
    if (c->zone_minutes < -ZONE_MINUTES_MAX || c->zone_minutes > ZONE_MINUTES_MAX)
        return false;
    int64_t seconds = days_from_civil(c->year, c->month, c->day) * DAY_S;
    seconds += c->hour * 3600 + c->minute * 60 + c->second - c->zone_minutes * 60;
    *ret_ms = seconds * 1000;
    return true;
}

/* ---- Writing ------------------------------------------------------------------------------ */

static void put_zone(struct buf *out, int minutes)
{
    int size = minutes < 0 ? -minutes : minutes;
    buf_printf(out, "%c%02d%02d", minutes < 0 ? '-' : '+', size / 60, size % 60);
}

void date_format_mail(struct buf *out, int64_t wall_ms, int zone_minutes)
{
    struct civil c = civil_from_ms(wall_ms, zone_minutes);
    buf_printf(out, "%s, %d %s %04d %02d:%02d:%02d ", day_names[c.weekday], c.day,
               month_names[c.month - 1], c.year, c.hour, c.minute, c.second);
    put_zone(out, zone_minutes);
}

void date_format_imap(struct buf *out, int64_t wall_ms, int zone_minutes)
{
    struct civil c = civil_from_ms(wall_ms, zone_minutes);
    buf_printf(out, "%2d-%s-%04d %02d:%02d:%02d ", c.day, month_names[c.month - 1], c.year, c.hour,
               c.minute, c.second);
    put_zone(out, zone_minutes);
}

void date_format_iso(struct buf *out, int64_t wall_ms)
{
    struct civil c = civil_from_ms(wall_ms, 0);
    buf_printf(out, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", c.year, c.month, c.day, c.hour, c.minute,
               c.second, (int)((wall_ms % 1000 + 1000) % 1000));
}

/* ---- Reading: pieces that both formats share ---------------------------------------------- */

/* Takes digits (at least min, at most max of them) off *s. */
static bool take_number(struct str *s, size_t min, size_t max, int *ret_value, size_t *ret_digits)
{
    size_t count = 0;
    int value = 0;
    while (count < s->len && count < max && ascii_is_digit(s->ptr[count]))
        value = value * 10 + (s->ptr[count++] - '0');
    if (count < min)
        return false;
    *s = str_skip(*s, count);
    *ret_value = value;
    if (ret_digits)
        *ret_digits = count;
    return true;
}

static bool take_byte(struct str *s, char c)
{
    if (s->len == 0 || s->ptr[0] != c)
        return false;
    *s = str_skip(*s, 1);
    return true;
}

static bool take_month(struct str *s, int *ret_month)
{
    for (int i = 0; i < 12; i++) {
        if (str_starts_nocase(*s, str_make(month_names[i], 3))) {
            *s = str_skip(*s, 3);
            *ret_month = i + 1;
            return true;
        }
    }
    return false;
}

/* ( "+" / "-" ) 4DIGIT */
static bool take_offset(struct str *s, int *ret_minutes)
{
    struct str rest = *s;
    bool west = take_byte(&rest, '-');
    int hours, minutes;
    if (!west && !take_byte(&rest, '+'))
        return false;
    if (!take_number(&rest, 2, 2, &hours, NULL) || !take_number(&rest, 2, 2, &minutes, NULL))
        return false;
    if (minutes > 59)
        return false;
    int total = hours * 60 + minutes;
    *ret_minutes = west ? -total : total;
    *s = rest;
    return true;
}

/* ---- Reading: RFC 5322 -------------------------------------------------------------------- */

/* Skips white space, line ends and comments, which nest: [CFWS]. */
static void skip_cfws(struct str *s)
{
    size_t depth = 0;
    size_t i = 0;
    for (; i < s->len; i++) {
        char c = s->ptr[i];
        if (c == '(')
            depth++;
        else if (depth > 0 && c == ')')
            depth--;
        else if (depth > 0 && c == '\\')
            i += i + 1 < s->len;
        else if (depth == 0 && c != ' ' && c != '\t' && c != '\r' && c != '\n')
            break;
    }
    *s = str_skip(*s, i);
}

static size_t count_alpha(struct str s)
{
    size_t len = 0;
    while (len < s.len && ascii_is_alpha(s.ptr[len]))
        len++;
    return len;
}

/* [ day-of-week "," ], which nobody needs. */
static void skip_weekday(struct str *s)
{
    skip_cfws(s);
    size_t len = count_alpha(*s);
    if (len == 0)
        return;
    *s = str_skip(*s, len);
    skip_cfws(s);
    take_byte(s, ',');
    skip_cfws(s);
}

/*
 * RFC 5322 §4.3: two digits are 2000 to 2049 or 1950 to 1999; three digits count from 1900.
 */
static bool take_year(struct str *s, int *ret_year)
{
    int year;
    size_t digits;
    if (!take_number(s, 2, 4, &year, &digits))
        return false;
    if (digits == 2)
        year += year < 50 ? 2000 : 1900;
    else if (digits == 3)
        year += 1900;
    *ret_year = year;
    return true;
}

/* hour ":" minute [ ":" second ], with [CFWS] around each (§4.3 obs-hour and so on). */
static bool take_time(struct str *s, struct civil *c)
{
    if (!take_number(s, 1, 2, &c->hour, NULL))
        return false;
    skip_cfws(s);
    if (!take_byte(s, ':'))
        return false;
    skip_cfws(s);
    if (!take_number(s, 2, 2, &c->minute, NULL))
        return false;
    skip_cfws(s);
    if (!take_byte(s, ':'))
        return true;
    skip_cfws(s);
    return take_number(s, 2, 2, &c->second, NULL);
}

/* RFC 5322 §4.3 obs-zone. Military letters were used both ways round and so mean nothing. */
static int zone_from_name(struct str name)
{
    static const struct {
        char name[4];
        int hours;
    } zones[] = {
        {"EST", -5}, {"EDT", -4}, {"CST", -6}, {"CDT", -5},
        {"MST", -7}, {"MDT", -6}, {"PST", -8}, {"PDT", -7},
    };
    for (size_t i = 0; i < sizeof zones / sizeof zones[0]; i++)
        if (str_eq_nocase(name, str_make(zones[i].name, 3)))
            return zones[i].hours * 60;
    return 0;
}

/*
 * date-time   = [ day-of-week "," ] date time [CFWS]
 * date        = day month year
 * time        = time-of-day zone
 */
bool date_parse_mail(struct str s, int64_t *ret_ms, int *ret_zone_minutes)
{
    struct civil c = {0};
    skip_weekday(&s);
    if (!take_number(&s, 1, 2, &c.day, NULL))
        return false;
    skip_cfws(&s);
    if (!take_month(&s, &c.month))
        return false;
    skip_cfws(&s);
    if (!take_year(&s, &c.year))
        return false;
    skip_cfws(&s);
    if (!take_time(&s, &c))
        return false;
    skip_cfws(&s);
    if (!take_offset(&s, &c.zone_minutes))
        c.zone_minutes = zone_from_name(str_sub(s, 0, count_alpha(s)));
    if (!civil_to_ms(&c, ret_ms))
        return false;
    if (ret_zone_minutes)
        *ret_zone_minutes = c.zone_minutes;
    return true;
}

/* ---- Reading: RFC 9051 -------------------------------------------------------------------- */

/* date-day "-" date-month "-" date-year */
static bool take_imap_day(struct str *s, struct civil *c)
{
    return take_byte(s, '-') && take_month(s, &c->month) && take_byte(s, '-') &&
           take_number(s, 4, 4, &c->year, NULL);
}

/*
 * date-time      = DQUOTE date-day-fixed "-" date-month "-" date-year SP time SP zone DQUOTE
 * date-day-fixed = (SP DIGIT) / 2DIGIT
 */
bool date_parse_imap(struct str s, int64_t *ret_ms, int *ret_zone_minutes)
{
    struct civil c = {0};
    /* Clients also send a day of one digit without the space; that is no reason to refuse mail. */
    take_byte(&s, ' ');
    bool ok = take_number(&s, 1, 2, &c.day, NULL) && take_imap_day(&s, &c) && take_byte(&s, ' ') &&
              take_number(&s, 2, 2, &c.hour, NULL) && take_byte(&s, ':') &&
              take_number(&s, 2, 2, &c.minute, NULL) && take_byte(&s, ':') &&
              take_number(&s, 2, 2, &c.second, NULL) && take_byte(&s, ' ') &&
              take_offset(&s, &c.zone_minutes) && s.len == 0;
    if (!ok || !civil_to_ms(&c, ret_ms))
        return false;
    if (ret_zone_minutes)
        *ret_zone_minutes = c.zone_minutes;
    return true;
}

/* date-text = date-day "-" date-month "-" date-year; date-day = 1*2DIGIT */
bool date_parse_imap_day(struct str s, int64_t *ret_ms)
{
    struct civil c = {0};
    return take_number(&s, 1, 2, &c.day, NULL) && take_imap_day(&s, &c) && s.len == 0 &&
           civil_to_ms(&c, ret_ms);
}

/* ---- Reading: RFC 3339 -------------------------------------------------------------------- */

/* time-offset = "Z" / (("+" / "-") 2DIGIT ":" 2DIGIT) */
static bool take_iso_zone(struct str *s, int *ret_minutes)
{
    int hours, minutes;
    *ret_minutes = 0;
    if (take_byte(s, 'Z') || take_byte(s, 'z'))
        return true;
    bool west = take_byte(s, '-');
    if (!west && !take_byte(s, '+'))
        return false;
    if (!take_number(s, 2, 2, &hours, NULL) || !take_byte(s, ':') ||
        !take_number(s, 2, 2, &minutes, NULL) || minutes > 59)
        return false;
    *ret_minutes = (hours * 60 + minutes) * (west ? -1 : 1);
    return true;
}

/* time-secfrac = "." 1*DIGIT; [time-secfrac] as milliseconds. */
static bool take_fraction(struct str *s, int *ret_ms)
{
    size_t digits = 0;
    *ret_ms = 0;
    if (!take_byte(s, '.'))
        return true;
    for (; s->len > 0 && ascii_is_digit(s->ptr[0]); *s = str_skip(*s, 1), digits++)
        if (digits < 3)
            *ret_ms += (s->ptr[0] - '0') * (digits == 0 ? 100 : digits == 1 ? 10 : 1);
    return digits > 0;
}

bool date_parse_iso(struct str s, int64_t *ret_ms)
{
    struct civil c = {0};
    int fraction_ms;
    int64_t ms;
    bool ok = take_number(&s, 4, 4, &c.year, NULL) && take_byte(&s, '-') &&
              take_number(&s, 2, 2, &c.month, NULL) && take_byte(&s, '-') &&
              take_number(&s, 2, 2, &c.day, NULL) && (take_byte(&s, 'T') || take_byte(&s, 't')) &&
              take_number(&s, 2, 2, &c.hour, NULL) && take_byte(&s, ':') &&
              take_number(&s, 2, 2, &c.minute, NULL) && take_byte(&s, ':') &&
              take_number(&s, 2, 2, &c.second, NULL) && take_fraction(&s, &fraction_ms) &&
              take_iso_zone(&s, &c.zone_minutes) && s.len == 0;
    if (!ok || !civil_to_ms(&c, &ms))
        return false;
    *ret_ms = ms + fraction_ms;
    return true;
}
