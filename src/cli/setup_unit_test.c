#include "cli/setup_unit.h"

#include <string.h>

#include "base/testing.h"
#include "cli/setup_files.h"
#include "cli/setup_text.h"

static const struct str PROGRAM = STR("/usr/local/bin/postern");

/* What setup writes, for a template and a program. */
static struct str made_of(struct buf *out, struct str template, struct str program)
{
    buf_init(out, 65536);
    setup_unit_make(out, template, program);
    assert_false(out->failed);
    return buf_str(out);
}

static void expect(enum setup_unit kind, struct str there)
{
    struct buf made;
    struct str ours = made_of(&made, str_from_c(setup_service), PROGRAM);
    assert_int_equal(setup_unit_judge(there, ours), kind);
    buf_release(&made);
}

/* The same with `this` in the place of the first `that`. */
static void expect_edited(enum setup_unit kind, struct str there, struct str that, struct str this)
{
    struct buf edited;
    ptrdiff_t at = str_find(there, that);
    assert_true(at >= 0);
    buf_init(&edited, 65536);
    buf_append_str(&edited, str_sub(there, 0, (size_t)at));
    buf_append_str(&edited, this);
    buf_append_str(&edited, str_skip(there, (size_t)at + that.len));
    expect(kind, buf_str(&edited));
    buf_release(&edited);
}

static void a_unit_of_this_version_is_known_and_so_is_an_edit_of_it(void **state)
{
    (void)state;
    struct buf made;
    struct str unit = made_of(&made, str_from_c(setup_service), PROGRAM);
    assert_true(str_find(unit, STR("ExecStart=/usr/local/bin/postern serve\n")) > 0);
    expect(SETUP_UNIT_SAME, unit);
    expect_edited(SETUP_UNIT_EDITED, unit, STR("ProtectHome=yes"), STR("ProtectHome=no"));
    expect_edited(SETUP_UNIT_STRANGE, unit, STR("above: "), STR("above: 0"));
    expect_edited(SETUP_UNIT_STRANGE, unit, STR("\n# sha256"), STR("\n#"));
    buf_append_str(&made, STR("Nice=5\n"));
    expect(SETUP_UNIT_EDITED, buf_str(&made));
    buf_release(&made);
}

static void a_unit_of_another_version_or_for_another_program_is_ours_unless_edited(void **state)
{
    (void)state;
    struct buf made;
    struct str unit =
        made_of(&made, STR("[Service]\nExecStart=@PROGRAM@ serve\nFence=1\n"), PROGRAM);
    expect(SETUP_UNIT_OURS, unit);
    expect_edited(SETUP_UNIT_STRANGE, unit, STR("Fence=1"), STR("Fence=0"));
    buf_release(&made);
    expect(SETUP_UNIT_OURS, made_of(&made, str_from_c(setup_service), STR("/opt/postern")));
    buf_release(&made);
}

/* The first one that setup ever wrote. */
static const char first_unit[] =
    "[Unit]\n"
    "Description=Postern mail server\n"
    "Documentation=man:postern(1) man:postern.conf(5)\n"
    "After=network-online.target nss-lookup.target\n"
    "Wants=network-online.target\n"
    "\n"
    "[Service]\n"
    "Type=notify\n"
    "NotifyAccess=main\n"
    "ExecStart=@PROGRAM@ serve\n"
    "ExecReload=/bin/kill -HUP $MAINPID\n"
    "Restart=on-failure\n"
    "RestartSec=2s\n"
    "TimeoutStopSec=60s\n"
    "LimitNOFILE=65536\n"
    "\n"
    "# Postern's warden starts as root, binds its ports, and gives each of its processes an own "
    "user and a\n"
    "# sandbox of its own (see ARCHITECTURE.md). This is the fence around all of them.\n"
    "CapabilityBoundingSet=CAP_NET_BIND_SERVICE CAP_SETUID CAP_SETGID CAP_SETPCAP CAP_CHOWN "
    "CAP_DAC_OVERRIDE CAP_FOWNER CAP_KILL\n"
    "AmbientCapabilities=\n"
    "NoNewPrivileges=yes\n"
    "ProtectSystem=strict\n"
    "ReadWritePaths=/var/lib/postern\n"
    "StateDirectory=postern\n"
    "ProtectHome=yes\n"
    "PrivateTmp=yes\n"
    "PrivateDevices=yes\n"
    "ProtectClock=yes\n"
    "ProtectControlGroups=yes\n"
    "ProtectHostname=yes\n"
    "ProtectKernelLogs=yes\n"
    "ProtectKernelModules=yes\n"
    "ProtectKernelTunables=yes\n"
    "ProtectProc=invisible\n"
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6\n"
    "RestrictNamespaces=yes\n"
    "RestrictRealtime=yes\n"
    "RestrictSUIDSGID=yes\n"
    "LockPersonality=yes\n"
    "MemoryDenyWriteExecute=yes\n"
    "RemoveIPC=yes\n"
    "SystemCallArchitectures=native\n"
    "SystemCallFilter=@system-service @sandbox @setuid\n"
    "UMask=0027\n"
    "\n"
    "[Install]\n"
    "WantedBy=multi-user.target\n";

static void a_unit_from_before_the_mark_is_known_by_its_text(void **state)
{
    (void)state;
    struct buf old;
    const struct setup_word words[] = {{"@PROGRAM@", STR("/opt/my postern")}, {NULL, {0}}};
    buf_init(&old, 65536);
    setup_fill(&old, str_from_c(first_unit), words);
    expect(SETUP_UNIT_OURS, buf_str(&old));
    expect_edited(SETUP_UNIT_STRANGE, buf_str(&old), STR("ProtectHome=yes"), STR("ProtectHome=no"));
    expect_edited(SETUP_UNIT_STRANGE, buf_str(&old), STR("ExecStart="), STR("ExecStart=-"));
    buf_release(&old);
}

static void what_is_no_unit_is_strange(void **state)
{
    (void)state;
    expect(SETUP_UNIT_STRANGE, STR(""));
    expect(SETUP_UNIT_STRANGE, STR("\nExecStart= serve\n"));
    expect(SETUP_UNIT_STRANGE, STR("x\n# sha256 of what is above: "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_unit_of_this_version_is_known_and_so_is_an_edit_of_it),
        cmocka_unit_test(a_unit_of_another_version_or_for_another_program_is_ours_unless_edited),
        cmocka_unit_test(a_unit_from_before_the_mark_is_known_by_its_text),
        cmocka_unit_test(what_is_no_unit_is_strange),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
