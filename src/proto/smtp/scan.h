#ifndef POSTERN_PROTO_SMTP_SCAN_H
#define POSTERN_PROTO_SMTP_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

/*
 * Reads the octets of a message as they come off the wire, in pieces cut anywhere. CRLF ends a line
 * and nothing else does (RFC 5321 §2.3.8): only CRLF "." CRLF ends the text behind DATA (§4.1.1.4),
 * whatever bare CRs, LFs and NULs a smuggler puts in its place. Those are a fault, and the text is
 * read on to its real end.
 */
enum smtp_scan_fault {
    SMTP_SCAN_CLEAN,
    SMTP_SCAN_BARE_CR,
    SMTP_SCAN_BARE_LF,
    SMTP_SCAN_NUL,
    SMTP_SCAN_LONG_LINE
};

enum smtp_scan_place {
    SMTP_SCAN_LINE_START, /* at the start, or behind CRLF */
    SMTP_SCAN_IN_LINE,
    SMTP_SCAN_BEHIND_CR,
    SMTP_SCAN_BEHIND_DOT,   /* CRLF "." */
    SMTP_SCAN_BEHIND_DOT_CR /* CRLF "." CR */
};

struct smtp_scan {
    bool dots;      /* DATA: dots are taken off and one alone is the end; false for BDAT */
    bool binary;    /* BINARYMIME: anything goes */
    bool normalise; /* a bare LF becomes CRLF; it is still no line end for the dot */
    uint32_t line_size_max;

    enum smtp_scan_place place;
    enum smtp_scan_fault fault; /* the first one found; no more octets are given out */
    uint32_t line_size;         /* octets of the line so far */
};

/*
 * Takes some octets off `in`, which is not empty, and returns how many: at least one. *ret_span is
 * what they mean: a piece of `in` or a constant, perhaps empty. *ret_end: the end mark was read.
 */
size_t smtp_scan_take(struct smtp_scan *scan, struct str in, struct str *ret_span, bool *ret_end);

/* The octets have ended without an end mark (BDAT LAST): a CR at the very end is bare. */
void smtp_scan_finish(struct smtp_scan *scan);

#endif
