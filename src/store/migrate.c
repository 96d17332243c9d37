#include "store/schema.h"

const char *const migrations[STORE_FORMAT - 1] = {
    migrate_2_sql,
    migrate_3_sql,
};
