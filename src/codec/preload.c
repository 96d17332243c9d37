#include "codec/preload.h"

#include "codec/charset.h"
#include "codec/fold.h"
#include "codec/idn.h"

enum status_code codec_preload(void)
{
    enum status_code status = charset_preload();
    if (status == STATUS_OK)
        status = fold_preload();
    if (status == STATUS_OK)
        status = idn_preload();
    return status;
}
