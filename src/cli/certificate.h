#ifndef POSTERN_CLI_CERTIFICATE_H
#define POSTERN_CLI_CERTIFICATE_H

#include "base/diag.h"
#include "base/status.h"

/*
 * Makes a P-256 key and a certificate for the name, signed by itself, for ten years. It encrypts;
 * whom one talks to it does not prove. With loopback it is for localhost, 127.0.0.1 and ::1 too.
 */
enum status_code certificate_make(const char *name, bool loopback, const char *chain_path,
                                  const char *key_path, struct diag *diag) MUST_USE;

#endif
