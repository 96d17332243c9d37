#include "base/bug.h"
#include "codec/date.h"

/* Whatever is read as a date must come back the same when it is written and read again. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str s = str_make(data, size);
    int64_t ms, again_ms;
    int zone;
    struct buf out;
    buf_init(&out, 100);
    if (date_parse_mail(s, &ms, &zone)) {
        date_format_mail(&out, ms, 0);
        invariant(date_parse_mail(buf_str(&out), &again_ms, NULL));
        /* A zone can carry a date at the calendar's end over it. */
        invariant(again_ms == ms || ms < -62167219200000 || ms > 253402300799999);
    }
    buf_clear(&out);
    if (date_parse_imap(s, &ms, &zone)) {
        date_format_imap(&out, ms, zone);
        invariant(date_parse_imap(buf_str(&out), &again_ms, NULL) && again_ms == ms);
    }
    (void)date_parse_imap_day(s, &ms);
    buf_release(&out);
    return 0;
}
