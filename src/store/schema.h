#ifndef POSTERN_STORE_SCHEMA_H
#define POSTERN_STORE_SCHEMA_H

/* The format of the database; a file of another one is migrated forward or refused. */
#define STORE_FORMAT 3

/* schema.sql without its comments. */
extern const char schema_sql[];

/* What makes format n of format n - 1: migrations[n - 2]. */
extern const char *const migrations[STORE_FORMAT - 1];
extern const char migrate_2_sql[];
extern const char migrate_3_sql[];

#endif
