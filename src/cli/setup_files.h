#ifndef POSTERN_CLI_SETUP_FILES_H
#define POSTERN_CLI_SETUP_FILES_H

/* The files of packaging/ that setup writes; @WORDS@ in them are filled in. Made by embed.py. */
extern const char setup_config[];
extern const char setup_service[];
extern const char setup_sysusers[];

#endif
