#ifndef POSTERN_CLI_SETUP_ROOT_H
#define POSTERN_CLI_SETUP_ROOT_H

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/diag.h"
#include "base/status.h"
#include "base/str.h"

/*
 * Files below a folder that stands for "/": links on the way lead where they would lead if it were,
 * never out of it, also while somebody changes it. A file's name itself is not followed: a link
 * there counts as something that is there.
 */
struct setup_root {
    int fd;
    const char *path; /* "" for the machine itself; borrowed */
};

/* path: "" or an absolute one; it must live as long as the root. */
enum status_code setup_root_open(const char *path, struct setup_root *ret_root,
                                 struct diag *diag) MUST_USE;
void setup_root_close(struct setup_root *r);

/* A name in a folder below the root, whether there is such a file or not. */
struct setup_place {
    int folder;
    char name[NAME_MAX + 1];
    char shown[PATH_MAX];     /* for people: the root's path and the one below it */
    char path[NAME_MAX + 40]; /* for calls of this process: by way of the open folder */
};

/* Makes the folders above it where they are missing, for everybody to read. */
enum status_code setup_place_open(const struct setup_root *r, const char *path,
                                  struct setup_place *ret_place, struct diag *diag) MUST_USE;
void setup_place_close(struct setup_place *p);

bool setup_place_exists(const struct setup_place *p);

/* A file of that name; STATUS_INVALID where it is something else. */
enum status_code setup_place_read(const struct setup_place *p, struct buf *out,
                                  struct diag *diag) MUST_USE;

enum status_code setup_place_write(const struct setup_place *p, struct str content, mode_t mode,
                                   struct diag *diag) MUST_USE;
enum status_code setup_place_link(const struct setup_place *p, const char *to,
                                  struct diag *diag) MUST_USE;

/* Where the folder really is: an absolute path without links. */
enum status_code setup_place_folder(const struct setup_place *p, char ret_path[PATH_MAX],
                                    struct diag *diag) MUST_USE;

#endif
