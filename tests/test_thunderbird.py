"""Thunderbird reads from Postern and writes to it: one Thunderbird, one account, one demo."""
import base64
import os
import re
import ssl
import uuid

import pytest

import mail
import postern
from thunderbird import Thunderbird

ADD_ACCOUNT = r"""
const { user, password, certificate, imaps, submissions } = args[0];
// What a click on "Confirm Security Exception" does.
const trusted = Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB)
  .constructX509FromBase64(certificate);
const overrides = Cc["@mozilla.org/security/certoverride;1"].getService(Ci.nsICertOverrideService);
for (const port of [imaps, submissions])
  overrides.rememberValidityOverride("localhost", port, {}, trusted, false);
for (const origin of ["imap://localhost", "smtp://localhost"]) {
  const login = Cc["@mozilla.org/login-manager/loginInfo;1"].createInstance(Ci.nsILoginInfo);
  login.init(origin, null, origin, user, password, "", "");
  await Services.logins.addLoginAsync(login);
}
const incoming = MailServices.accounts.createIncomingServer(user, "localhost", "imap");
incoming.port = imaps;
incoming.doBiff = false; // what is new it hears by IDLE, or not at all
const outgoing = MailServices.outgoingServer.createServer("smtp");
outgoing.QueryInterface(Ci.nsISmtpServer);
outgoing.hostname = "localhost";
outgoing.port = submissions;
outgoing.username = user;
for (const server of [incoming, outgoing]) {
  server.socketType = Ci.nsMsgSocketType.SSL;
  server.authMethod = Ci.nsMsgAuthMethod.passwordCleartext;
}
const identity = MailServices.accounts.createIdentity();
identity.email = user;
identity.fullName = "Alice";
identity.smtpServerKey = outgoing.key;
const account = MailServices.accounts.createAccount();
account.incomingServer = incoming;
account.addIdentity(identity);
MailServices.accounts.defaultAccount = account;
await url(listener => MailServices.imap.discoverAllFolders(root(), listener, null));
await update("INBOX");
"""


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Of this file's own: one test restarts it."""
    with postern.Demo(tmp_path_factory.mktemp("demo") / "data") as server:
        yield server


@pytest.fixture(scope="module")
def client(demo, tmp_path_factory):
    certificate = (demo.folder / "certificate.pem").read_text()
    with Thunderbird(tmp_path_factory.mktemp("thunderbird")) as thunderbird:
        thunderbird.run(ADD_ACCOUNT, {
            "user": "alice@demo.test", "password": demo.users["alice"],
            "certificate": base64.b64encode(ssl.PEM_cert_to_DER_cert(certificate)).decode(),
            "imaps": demo.port("imaps"), "submissions": demo.port("submissions")})
        yield thunderbird
        # It asks for nothing that it was not offered, so nothing may have been refused.
        refused = [line for line in thunderbird.dialogue()
                   if re.match(r"\d+ (NO|BAD) |\* BAD ", line)]
        assert refused == []


def deliver(demo, **parts):
    sent = mail.message("alice@demo.test", **parts)
    mail.smtp(demo).send_message(sent)
    return sent


def flags_of(conn, subject, mailbox="INBOX"):
    """The flags of the one message with that subject; None where there is none."""
    assert conn.select(f'"{mailbox}"', readonly=True)[0] == "OK"
    _, found = conn.uid("SEARCH", "SUBJECT", f'"{subject}"')
    if not found[0]:
        return None
    assert len(found[0].split()) == 1
    _, data = conn.uid("FETCH", found[0], "(FLAGS)")
    return set(re.search(rb"FLAGS \((.*?)\)", data[0])[1].decode().split())


def test_folders_have_their_uses(client):
    uses = client.run("""
const uses = ["Inbox", "Drafts", "SentMail", "Trash", "Archive", "Junk"];
return Object.fromEntries(uses.map(
  use => [use, root().getFoldersWithFlags(Ci.nsMsgFolderFlags[use]).map(folder => folder.name)]));
""")
    assert uses == {"Inbox": ["INBOX"], "Drafts": ["Drafts"], "SentMail": ["Sent"],
                    "Trash": ["Trash"], "Archive": ["Archive"], "Junk": ["Junk"]}


def test_a_message_with_an_attachment_is_read_as_it_was_sent(demo, client):
    data = os.urandom(300_000)
    sent = mail.message("alice@demo.test", subject=f"Grüße {uuid.uuid4()}",
                        body="Größe: 3 µm\r\n")
    sent.add_attachment(data, maintype="application", subtype="octet-stream",
                        filename="Zahlen ä.bin")
    mail.smtp(demo).send_message(sent)
    client.run("await update('INBOX')")
    seen = client.run("""
const { MsgHdrToMimeMessage } =
  ChromeUtils.importESModule("resource:///modules/gloda/MimeMessage.sys.mjs");
const message = header("INBOX", args[0]);
const structure = await new Promise(yes =>
  MsgHdrToMimeMessage(message, null, (_, mime) => yes(mime), true, {}));
const [attachment] = structure.allUserAttachments;
const uri = message.folder.getUriForMsg(message);
return {
  text: structure.coerceBodyToPlaintext(message.folder),
  name: attachment.name,
  data: await octets(attachment.url, loader =>
    Services.io.newChannelFromURI(Services.io.newURI(attachment.url), null,
      Services.scriptSecurityManager.getSystemPrincipal(), null,
      Ci.nsILoadInfo.SEC_ALLOW_CROSS_ORIGIN_SEC_CONTEXT_IS_NULL, Ci.nsIContentPolicy.TYPE_OTHER)
      .asyncOpen(loader)),
  whole: await octets(uri, loader => MailServices.messageServiceFromURI(uri).streamMessage(
    uri, loader, null, null, false, "", false)),
};
""", sent["Subject"])
    assert "Größe: 3 µm" in seen["text"]
    assert seen["name"] == "Zahlen ä.bin"
    assert base64.b64decode(seen["data"]) == data
    conn = mail.imap(demo)
    kept = mail.fetch(conn, mail.find(conn, sent["Message-ID"])[0])
    # Its own copy begins with fields of its own.
    shown = base64.b64decode(seen["whole"]).replace(b"\r\n", b"\n")
    own, field, rest = shown.partition(b"Return-Path:")
    assert field + rest == kept.replace(b"\r\n", b"\n")
    assert all(line.startswith(b"X-Mozilla-") for line in own.splitlines())


def test_flags_go_both_ways(demo, client):
    subject = deliver(demo)["Subject"]
    conn = mail.imap(demo)
    client.run("""
await update("INBOX");
const message = header("INBOX", args[0]);
message.folder.markMessagesRead([message], true);
message.folder.markMessagesFlagged([message], true);
message.folder.addKeywordsToMessages([message], "$label1");
""", subject)
    wanted = {r"\Seen", r"\Flagged", "$label1"}
    mail.wait_until(lambda: flags_of(conn, subject) >= wanted)
    conn.select("INBOX")
    _, found = conn.uid("SEARCH", "SUBJECT", f'"{subject}"')
    conn.uid("STORE", found[0], "FLAGS", r"(\Answered $Forwarded)")
    assert client.run("""
await update("INBOX");
const message = header("INBOX", args[0]);
return [message.isRead, message.isFlagged, message.getStringProperty("keywords"),
        Boolean(message.flags & Ci.nsMsgMessageFlags.Replied),
        Boolean(message.flags & Ci.nsMsgMessageFlags.Forwarded)];
""", subject) == [False, False, "", True, True]


def test_messages_are_moved_copied_and_deleted(demo, client):
    moved, copied, deleted = (deliver(demo)["Subject"] for _ in range(3))
    client.run("""
await update("INBOX");
const [moved, copied, deleted] = args.map(subject => header("INBOX", subject));
await copy(listener => MailServices.copy.copyMessages(
  folder("INBOX"), [moved], folder("Archive"), true, listener, null, false));
await copy(listener => MailServices.copy.copyMessages(
  folder("INBOX"), [copied], folder("Junk"), false, listener, null, false));
await copy(listener => folder("INBOX").deleteMessages(
  [deleted], null, false, false, listener, false));
""", moved, copied, deleted)
    # It looks into them by itself.
    mail.wait_until(lambda: client.run("""
return Boolean(header("Archive", args[0]) && header("Junk", args[1]) && header("Trash", args[2]))
  && !header("INBOX", args[0]) && !header("INBOX", args[2])""", moved, copied, deleted))
    conn = mail.imap(demo)
    where = {subject: [name for name in ("INBOX", "Archive", "Junk", "Trash")
                       if flags_of(conn, subject, name) is not None]
             for subject in (moved, copied, deleted)}
    assert where == {moved: ["Archive"], copied: ["INBOX", "Junk"], deleted: ["Trash"]}


def test_folders_are_made_renamed_and_deleted(demo, client):
    conn = mail.imap(demo)

    def names():
        return {row.decode().rpartition('"/" ')[2].strip('"') for row in conn.list()[1]}
    client.run("""
const added = name => new Promise(yes => {
  const listener = { folderAdded(folder) {
    if (folder.name == name) { MailServices.mfn.removeListener(listener); yes(); } } };
  MailServices.mfn.addListener(listener, MailServices.mfn.folderAdded);
});
let waits = added("Größe & Co");
root().createSubfolder("Größe & Co", null);
await waits;
waits = added("Alt");
folder("Größe & Co").createSubfolder("Alt", null);
await waits;
""")
    assert {"Gr&APYA3w-e &- Co", "Gr&APYA3w-e &- Co/Alt"} <= names()
    client.run("folder('Größe & Co').rename('Neu', null)")
    mail.wait_until(lambda: {"Neu", "Neu/Alt"} <= names())
    mail.wait_until(lambda: client.run("""
return root().containsChildNamed("Neu") && folder("Neu").containsChildNamed("Alt")"""))
    client.run("folder('Neu/Alt').deleteSelf(null)")
    # A deleted folder goes below Trash.
    mail.wait_until(lambda: "Trash/Alt" in names() and "Neu/Alt" not in names())


SEND = r"""
const { to, subject, body, mode } = args[0];
const fields = Cc["@mozilla.org/messengercompose/composefields;1"]
  .createInstance(Ci.nsIMsgCompFields);
const account = MailServices.accounts.defaultAccount;
Object.assign(fields, { from: "Alice <alice@demo.test>", to, subject, body });
fields.fcc = folder("Sent").URI;
const attachment = Cc["@mozilla.org/messengercompose/attachment;1"]
  .createInstance(Ci.nsIMsgAttachment);
attachment.url = "data:text/plain;base64," + btoa("attached");
attachment.name = "note.txt";
attachment.contentType = "text/plain";
fields.addAttachment(attachment);
await new Promise((yes, no) => {
  const done = ended(yes, no);
  Cc["@mozilla.org/messengercompose/send;1"].createInstance(Ci.nsIMsgSend).createAndSendMessage(
    null, account.defaultIdentity, account.key, fields, false, false,
    Ci.nsIMsgCompDeliverMode[mode], null, "text/plain", body, null, null, {
      QueryInterface: ChromeUtils.generateQI(["nsIMsgSendListener", "nsIMsgCopyServiceListener"]),
      onStartSending() {}, onProgress() {}, onStatus() {}, onGetDraftFolderURI() {},
      onSendNotPerformed() { no(new Error("not sent")); },
      onTransportSecurityError(_, status) { no(new Error("TLS " + status)); },
      onStopSending(_id, status) { if (status) done(status); },
      onStartCopy() {}, setMessageKey() {}, getMessageId() { return null; },
      onStopCopy: done,
    }, "", "", Ci.nsIMsgCompType.New);
});
"""


def test_a_message_is_submitted_and_kept_in_sent(demo, client):
    subject = f"Grüße {uuid.uuid4()}"
    client.run(SEND, {"to": "bob@demo.test", "subject": subject, "body": "Über alles.\r\n",
                      "mode": "Now"})
    for user, mailbox in (("bob", "INBOX"), ("alice", "Sent")):
        conn = mail.imap(demo, user)
        assert (r"\Seen" in flags_of(conn, subject.split()[1], mailbox)) == (user == "alice")
        _, found = conn.uid("SEARCH", "SUBJECT", subject.split()[1])
        whole = mail.fetch(conn, found[0])
        assert "Über alles." in whole.decode() and b"note.txt" in whole
        assert base64.b64encode(b"attached") in whole


def test_a_draft_is_kept(demo, client):
    subject = f"draft {uuid.uuid4()}"
    client.run(SEND, {"to": "bob@demo.test", "subject": subject, "body": "Not yet.\r\n",
                      "mode": "SaveAsDraft"})
    assert r"\Draft" in flags_of(mail.imap(demo), subject, "Drafts")


LISTEN = r"""
globalThis.told = new Promise(yes => {
  const listener = {
    QueryInterface: ChromeUtils.generateQI(["nsIMsgFolderListener"]),
    msgAdded: message => event("added", message),
    msgsDeleted: messages => messages.forEach(message => event("gone", message)),
    msgPropertyChanged: () => {},
  };
  const event = (what, message) => {
    if (what != args[0] || message.mime2DecodedSubject != args[1]) return;
    MailServices.mfn.removeListener(listener);
    yes();
  };
  MailServices.mfn.addListener(listener, MailServices.mfn.msgAdded | MailServices.mfn.msgsDeleted);
});
"""


def test_idle_tells_of_what_others_do(demo, client):
    """It does not poll (doBiff), and nothing here asks it to look."""
    def idles():
        return client.dialogue()[-1].startswith("+ ")
    sent = mail.message("alice@demo.test")
    client.run("await update('INBOX')")
    mail.wait_until(idles)
    client.run(LISTEN, "added", sent["Subject"])
    mail.smtp(demo).send_message(sent)
    client.run("await globalThis.told")
    mail.wait_until(idles)
    client.run(LISTEN, "gone", sent["Subject"])
    conn = mail.imap(demo)
    uid = mail.find(conn, sent["Message-ID"])[0]
    conn.select("INBOX")
    conn.uid("STORE", uid, "+FLAGS", r"(\Deleted)")
    conn.expunge()
    client.run("await globalThis.told")


def test_a_search_is_done_by_the_server(demo, client):
    sent = deliver(demo, body=f"Wörter {uuid.uuid4()} ä\r\n")
    word = re.search("Wörter ([^ ]*)", sent.get_content())[1]
    assert client.run("""
await update("INBOX");
const session = Cc["@mozilla.org/messenger/searchSession;1"].createInstance(Ci.nsIMsgSearchSession);
session.addScopeTerm(Ci.nsMsgSearchScope.onlineMail, folder("INBOX"));
const term = session.createTerm();
const value = term.value;
value.attrib = term.attrib = Ci.nsMsgSearchAttrib.Body;
value.str = args[0];
term.value = value;
term.op = Ci.nsMsgSearchOp.Contains;
session.appendTerm(term);
const found = [];
await new Promise((yes, no) => {
  session.registerListener({
    onNewSearch() {},
    onSearchHit: message => found.push(message.messageId),
    onSearchDone: ended(yes, no),
  });
  session.search(null);
});
return found;
""", word) == [sent["Message-ID"].strip("<>")]


def test_the_trash_is_emptied_and_a_folder_marked_read(demo, client):
    kept, gone = deliver(demo)["Subject"], deliver(demo)["Subject"]
    conn = mail.imap(demo)
    client.run("""
await update("INBOX");
await copy(listener => folder("INBOX").deleteMessages(
  [header("INBOX", args[1])], null, false, false, listener, false));
folder("INBOX").markAllMessagesRead(null);
""", kept, gone)
    mail.wait_until(lambda: r"\Seen" in flags_of(conn, kept))
    conn.select("INBOX", readonly=True)
    assert conn.uid("SEARCH", "UNSEEN")[1] == [b""]
    mail.wait_until(lambda: client.run("return Boolean(header('Trash', args[0]))", gone))

    def emptied():
        # Its header is there before Thunderbird is done with the folder: what it is asked then is
        # lost, so it is asked again.
        client.run("folder('Trash').emptyTrash(null)")
        return conn.select("Trash", readonly=True)[1] == [b"0"]
    mail.wait_until(emptied)


def test_it_comes_back_when_the_server_does(demo, client):
    demo.stop()
    demo.start()
    subject = deliver(demo)["Subject"]
    client.run("await update('INBOX')")
    assert client.run("return header('INBOX', args[0]).isRead", subject) is False
