#ifndef POSTERN_CLI_COMMANDS_H
#define POSTERN_CLI_COMMANDS_H

#include "cli/cli.h"

/* What runs each command of the table in commands.c; grouped by file. */

/* domain.c */
extern const struct cli_option domain_options[];
enum cli_exit run_domain_add(struct cli *cli);
enum cli_exit run_domain_set(struct cli *cli);
enum cli_exit run_domain_list(struct cli *cli);
enum cli_exit run_domain_show(struct cli *cli);
enum cli_exit run_domain_remove(struct cli *cli);
enum cli_exit run_catch_all_set(struct cli *cli);
enum cli_exit run_catch_all_show(struct cli *cli);
enum cli_exit run_catch_all_remove(struct cli *cli);

/* account.c */
extern const struct cli_option account_add_options[];
enum cli_exit run_account_add(struct cli *cli);
enum cli_exit run_account_list(struct cli *cli);
enum cli_exit run_account_show(struct cli *cli);
enum cli_exit run_account_remove(struct cli *cli);
enum cli_exit run_account_disable(struct cli *cli);
enum cli_exit run_account_enable(struct cli *cli);
enum cli_exit run_account_quota(struct cli *cli);

/* address.c */
enum cli_exit run_address_add(struct cli *cli);
enum cli_exit run_address_list(struct cli *cli);
enum cli_exit run_address_show(struct cli *cli);
enum cli_exit run_address_remove(struct cli *cli);
enum cli_exit run_alias_add(struct cli *cli);
enum cli_exit run_alias_set(struct cli *cli);
enum cli_exit run_alias_list(struct cli *cli);
enum cli_exit run_alias_show(struct cli *cli);
enum cli_exit run_alias_remove(struct cli *cli);

/* password.c */
extern const struct cli_option password_options[];
extern const struct cli_option password_add_options[];
enum cli_exit run_password_set(struct cli *cli);
enum cli_exit run_password_add(struct cli *cli);
enum cli_exit run_password_list(struct cli *cli);
enum cli_exit run_password_show(struct cli *cli);
enum cli_exit run_password_remove(struct cli *cli);

/* control.c */
enum cli_exit run_control_serve(struct cli *cli);
enum cli_exit run_control_reload(struct cli *cli);
enum cli_exit run_control_stop(struct cli *cli);
enum cli_exit run_control_status(struct cli *cli);
enum cli_exit run_control_version(struct cli *cli);
enum cli_exit run_config_check(struct cli *cli);
enum cli_exit run_trace_show(struct cli *cli);

/* queue.c */
extern const struct cli_option queue_list_options[];
enum cli_exit run_queue_list(struct cli *cli);
enum cli_exit run_queue_show(struct cli *cli);

/* queue_change.c */
extern const struct cli_option queue_change_options[];
extern const struct cli_option queue_bounce_options[];
extern const struct cli_option queue_reroute_options[];
enum cli_exit run_queue_hold(struct cli *cli);
enum cli_exit run_queue_release(struct cli *cli);
enum cli_exit run_queue_retry(struct cli *cli);
enum cli_exit run_queue_bounce(struct cli *cli);
enum cli_exit run_queue_remove(struct cli *cli);
enum cli_exit run_queue_reroute(struct cli *cli);

/* explain.c */
enum cli_exit run_explain(struct cli *cli);

/* tls_report.c */
extern const struct cli_option tls_report_options[];
enum cli_exit run_tls_report(struct cli *cli);

/* store.c */
enum cli_exit run_store_check(struct cli *cli);
enum cli_exit run_store_restored(struct cli *cli);

/* demo.c */
extern const struct cli_option demo_options[];
enum cli_exit run_demo(struct cli *cli);

/* setup.c */
extern const struct cli_option setup_options[];
enum cli_exit run_setup(struct cli *cli);

#endif
