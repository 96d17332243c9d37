#ifndef POSTERN_CODEC_DATE_H
#define POSTERN_CODEC_DATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

/*
 * Dates as mail writes them. Time is Unix milliseconds (wall_ms of struct now); a zone is minutes
 * east of UTC. Nothing here knows a clock, a locale or a zone file: the proleptic Gregorian
 * calendar and arithmetic, for the years 0 to 9999. Formatting clamps to that range.
 */

/* A moment, as a calendar shows it. */
struct civil {
    int year;
    int month;   /* 1 to 12 */
    int day;     /* 1 to 31 */
    int hour;    /* 0 to 23 */
    int minute;  /* 0 to 59 */
    int second;  /* 0 to 60 (RFC 5322 §3.3 allows the leap second) */
    int weekday; /* 0 is Sunday; filled in by civil_from_ms, not read by civil_to_ms */
    int zone_minutes;
};

struct civil civil_from_ms(int64_t wall_ms, int zone_minutes);

/* False, and *ret_ms untouched, where c is no moment (30 February, 25 o'clock, zone of a day). */
bool civil_to_ms(const struct civil *c, int64_t *ret_ms);

/* RFC 5322 §3.3: "Thu, 13 Feb 2025 23:31:30 +0100". */
void date_format_mail(struct buf *out, int64_t wall_ms, int zone_minutes);

/*
 * Reads an RFC 5322 date-time with everything old software writes (§4.3): comments and folding,
 * no weekday, two- and three-digit years, named zones, no seconds. A zone that is missing or not
 * known is UTC. The weekday is not checked against the date. ret_zone_minutes may be NULL.
 */
bool date_parse_mail(struct str s, int64_t *ret_ms, int *ret_zone_minutes);

/* RFC 9051 §9 date-time, without the quotes: "17-Jul-1996 02:44:25 -0700", " 1-Jan-1970 ...". */
void date_format_imap(struct buf *out, int64_t wall_ms, int zone_minutes);
bool date_parse_imap(struct str s, int64_t *ret_ms, int *ret_zone_minutes);

/* RFC 9051 §9 date-text, without the quotes: "1-Feb-1994"; ret_ms is 00:00 UTC of that day. */
bool date_parse_imap_day(struct str s, int64_t *ret_ms);

/* RFC 3339, UTC, with milliseconds: "2025-02-13T22:31:30.125Z". For logs and listings. */
void date_format_iso(struct buf *out, int64_t wall_ms);

/* RFC 3339 §5.6 date-time, with any zone; fractions of a second beyond milliseconds are cut. */
bool date_parse_iso(struct str s, int64_t *ret_ms);

#endif
