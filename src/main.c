#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/sendmail.h"
#include "roles/courier.h"
#include "roles/edge.h"
#include "roles/keeper.h"
#include "roles/mailroom.h"
#include "roles/vault.h"

/* The warden starts this program again for each role: postern --role NAME --index NUMBER. */
static int run_role(struct str name, struct str index_words)
{
    static const struct role_plan *const plans[] = {&edge_plan, &courier_plan, &keeper_plan,
                                                    &mailroom_plan, &vault_plan};
    uint64_t index;
    if (!str_to_u64(index_words, UINT8_MAX, &index))
        return EXIT_FAILURE;
    for (size_t i = 0; i < sizeof(plans) / sizeof(plans[0]); i++)
        if (ipc_role_find(name) == plans[i]->self)
            return role_main(plans[i], (uint8_t)index);
    return EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "--role") == 0 && strcmp(argv[3], "--index") == 0)
        return run_role(str_from_c(argv[2]), str_from_c(argv[4]));
    const char *name = argc > 0 && argv[0] ? argv[0] : "";
    const char *slash = strrchr(name, '/');
    if (strcmp(slash ? slash + 1 : name, "sendmail") == 0)
        return sendmail_main(argc, argv, stdin, stdout, stderr);
    return cli_main(argc, argv, stdin, stdout, stderr);
}
