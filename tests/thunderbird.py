"""Thunderbird itself, without a screen, driven through its remote protocol (Marionette).

    with Thunderbird(folder) as client:
        client.run("return MailServices.accounts.accounts.length")

A script is JavaScript with the rights of the program's own code. It may await; what it returns
(JSON) is the result, and what it throws is a ScriptError.
"""
import json
import os
import re
import signal
import socket
import subprocess

import mail

PORT_FILE = "MarionetteActivePort"
START_S = 60
STOP_S = 20

# Quiet, and nothing that leaves this machine: what is not on it goes to a proxy that is not there.
PREFS = {
    "marionette.port": 0,
    "network.proxy.type": 1,
    "network.proxy.http": "127.0.0.1",
    "network.proxy.http_port": 9,
    "network.proxy.ssl": "127.0.0.1",
    "network.proxy.ssl_port": 9,
    "app.update.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "extensions.update.enabled": False,
    "mail.provider.suppress_dialog_on_startup": True,
    "mail.shell.checkDefaultClient": False,
    "mail.chat.enabled": False,
    "mail.rights.version": 1,
    "mailnews.start_page.enabled": False,
    "mailnews.confirm.moveFoldersToTrash": False,
    "mailnews.auto_config.fetchFromISP.enabled": False,
}

# What each script finds there. A listener of Thunderbird's has many names to answer to.
PREAMBLE = r"""
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const root = () => MailServices.accounts.defaultAccount.incomingServer.rootFolder;
const folder = path => path.split("/").reduce((in_, name) => in_.getChildNamed(name), root());
const ended = (yes, no) => status =>
  status ? no(new Error("status " + status.toString(16))) : yes();
const url = start => new Promise((yes, no) => start({
  OnStartRunningUrl() {}, OnStopRunningUrl(_, status) { ended(yes, no)(status); } }));
const copy = start => new Promise((yes, no) => start({
  QueryInterface: ChromeUtils.generateQI(["nsIMsgCopyServiceListener"]),
  onStartCopy() {}, onProgress() {}, setMessageKey() {}, getMessageId() { return null; },
  onStopCopy: ended(yes, no) }));
const update = path => url(listener =>
  folder(path).QueryInterface(Ci.nsIMsgImapMailFolder).updateFolderWithListener(null, listener));
const header = (path, subject) =>
  [...folder(path).messages].find(header => header.mime2DecodedSubject == subject);
const octets = (uri, channel) => new Promise((yes, no) => {
  const loader = Cc["@mozilla.org/network/stream-loader;1"].createInstance(Ci.nsIStreamLoader);
  loader.init({ onStreamComplete(_loader, _context, status, _length, data) {
    if (status) no(new Error("status " + status.toString(16)));
    else yes(btoa(data.reduce((text, octet) => text + String.fromCharCode(octet), "")));
  } });
  channel(loader);
});
"""


class ScriptError(Exception):
    pass


class Thunderbird:
    def __init__(self, folder):
        self.folder = folder
        self.profile = folder / "profile"
        self.log_path = folder / "thunderbird.log"
        self.process = self.socket = None
        self.count = 0

    def __enter__(self):
        self.profile.mkdir()
        prefs = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n"
                 for name, value in PREFS.items()]
        (self.profile / "user.js").write_text("".join(prefs))
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                ["thunderbird", "--headless", "--no-remote", "--marionette",
                 "--remote-allow-system-access", "--profile", self.profile],
                stdout=log, stderr=log, start_new_session=True,
                env={"HOME": str(self.folder), "PATH": os.environ["PATH"], "LANG": "C.UTF-8",
                     "MOZ_LOG": "sync,IMAP:4", "MOZ_LOG_FILE": str(self.folder / "dialogue")})
        try:
            self._connect(mail.wait_until(self._port, START_S))
        except BaseException:
            self._kill()
            raise
        return self

    def __exit__(self, *_):
        try:
            self.socket.settimeout(STOP_S)
            self._command("Marionette:Quit", {"flags": ["eAttemptQuit"]})
            self.process.wait(STOP_S)
        finally:
            self._kill()

    def _kill(self):
        if self.socket:
            self.socket.close()
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()

    def _port(self):
        assert self.process.poll() is None, self.log_path.read_text(errors="replace")
        path = self.profile / PORT_FILE
        return path.exists() and path.read_text().strip()

    def _connect(self, port):
        self.socket = socket.create_connection(("127.0.0.1", int(port)), START_S)
        self.stream = self.socket.makefile("rb")
        self._read()  # its greeting
        self._command("WebDriver:NewSession", {})
        self._command("Marionette:SetContext", {"value": "chrome"})

    def _read(self):
        """One packet: its length, a colon, JSON."""
        length = b""
        while not length.endswith(b":"):
            octet = self.stream.read(1)
            assert octet, "Thunderbird hung up"
            length += octet
        return json.loads(self.stream.read(int(length[:-1])))

    def _command(self, name, arguments):
        self.count += 1
        packet = json.dumps([0, self.count, name, arguments]).encode()
        self.socket.sendall(b"%d:%s" % (len(packet), packet))
        _, number, error, result = self._read()
        assert number == self.count
        if error:
            raise ScriptError(f"{error['error']}: {error['message']}\n{error['stacktrace']}")
        return result

    def dialogue(self):
        """The lines of all its IMAP connections, commands and replies, as they came."""
        log = self.folder / "dialogue.moz_log"
        return re.findall(r":(?:SendData|CreateNewLineFromSocket): (.*)",
                          log.read_text(errors="replace"))

    def run(self, script, *arguments, seconds=30):
        """The value of a script, which finds its arguments in `args`."""
        self.socket.settimeout(seconds + 5)
        self._command("WebDriver:SetTimeouts", {"script": seconds * 1000})
        whole = rf"""
const args = [...arguments];
const done = args.pop();
(async () => {{ {PREAMBLE} {script} }})().then(
    value => done({{ value: value ?? null }}),
    error => done({{ error: String(error) + "\\n" + (error.stack ?? "") }}));"""
        answer = self._command("WebDriver:ExecuteAsyncScript", {
            "script": whole, "args": list(arguments), "sandbox": "system"})["value"]
        if answer is None:
            raise ScriptError("it did not come back: a window asks something")
        if "error" in answer:
            raise ScriptError(answer["error"])
        return answer["value"]
