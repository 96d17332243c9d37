#include "roles/key_check.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "io/tls.h"
#include "roles/keeper_tls.h"

/* What the child says where all is well; anything else is what is wrong. */
static const char good[] = "good";

static bool fits(const struct keeper_tls *t, struct str chain)
{
    unsigned char id[TLS_KEY_ID_SIZE];
    EVP_PKEY *public = tls_public_key(chain);
    bool fits = public && tls_key_id(public, id) && keeper_tls_has(t, str_make(id, sizeof id));
    EVP_PKEY_free(public);
    return fits;
}

static void judge(int fd, struct str chain, struct diag *verdict)
{
    struct keeper_tls *t = keeper_tls_new();
    if (!t)
        diag_set(verdict, "no memory");
    else if (keeper_tls_load(t, 0, fd, verdict) == STATUS_OK)
        diag_set(verdict, "%s", fits(t, chain) ? good : "this is not the certificate's key");
    keeper_tls_free(t);
}

static void run_child(int fd, struct str chain, int to)
{
    struct diag verdict = {0};
    judge(fd, chain, &verdict);
    size_t size = strlen(verdict.words);
    _exit(write(to, verdict.words, size) == (ssize_t)size ? 0 : 1);
}

static void hear(int from, char *words, size_t size)
{
    size_t len = 0;
    ssize_t n;
    do {
        n = read(from, words + len, size - 1 - len);
        len += n > 0 ? (size_t)n : 0;
    } while (n > 0 || (n < 0 && errno == EINTR));
    words[len] = '\0';
}

enum status_code key_check(int fd, struct str chain, struct diag *diag)
{
    int fds[2];
    char words[sizeof diag->words];
    if (pipe2(fds, O_CLOEXEC) != 0) {
        diag_set(diag, "pipe: %s", strerror(errno));
        return status_from_errno(errno);
    }
    pid_t pid = fork();
    if (pid == 0)
        run_child(fd, chain, fds[1]);
    int error = errno;
    close(fds[1]);
    if (pid < 0) {
        close(fds[0]);
        diag_set(diag, "fork: %s", strerror(error));
        return status_from_errno(error);
    }
    hear(fds[0], words, sizeof words);
    close(fds[0]);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    if (strcmp(words, good) == 0)
        return STATUS_OK;
    diag_set(diag, "%s", *words ? words : "the key cannot be checked");
    return STATUS_INVALID;
}
