#ifndef POSTERN_CODEC_PRELOAD_H
#define POSTERN_CODEC_PRELOAD_H

#include "base/status.h"

/*
 * Loads everything that this layer's libraries would load when it is first needed. A role calls
 * it before its sandbox closes; from then on the layer opens no file.
 */
enum status_code codec_preload(void) MUST_USE;

#endif
