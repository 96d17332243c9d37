#ifndef POSTERN_BASE_LIMITS_H
#define POSTERN_BASE_LIMITS_H

/*
 * Every limit of Postern, each with the attack or accident it stops and what the peer is told.
 * Those that an administrator may change are defaults for a configuration key of the same name.
 * Units are last in the name; counts have none.
 */

/* ---- SMTP and LMTP, server -------------------------------------------------------------- */

/*
 * A command line, CRLF included. RFC 5321 §4.5.3.1.4 asks for 512 octets plus what extensions add;
 * an AUTH initial response may be 12,288 (RFC 4954 §4). Longer: 500 5.5.6, the line is discarded.
 */
#define LIMIT_SMTP_COMMAND_SIZE   2048
#define LIMIT_SMTP_AUTH_LINE_SIZE 12288

/* RFC 5321 §4.5.3.1.1, .2, .3: local part, domain, path. Longer: 501 5.1.3 (5.1.7 for senders). */
#define LIMIT_LOCAL_PART_SIZE 64
#define LIMIT_DOMAIN_SIZE     255
#define LIMIT_PATH_SIZE       256

/*
 * A text line of a message, CRLF included. RFC 5321 §4.5.3.1.6 asks for 1,000; many senders are
 * over it, and the bytes are kept as they came. Longer still is no mail: 500 5.6.0 after the dot.
 */
#define LIMIT_SMTP_TEXT_LINE_SIZE 65536

/* Recipients of one transaction (RFC 5321 §4.5.3.1.8 asks for 100). More: 452 4.5.3. */
#define LIMIT_SMTP_RECIPIENTS 1000

/* A message, trace headers not counted. Larger: 552 5.3.4, at MAIL where SIZE tells. */
#define LIMIT_MESSAGE_SIZE (50 * 1024 * 1024)

/* Received fields, ours counted, above which it is a loop: 554 5.4.6. RFC 5321 §6.3: "normally at
 * least 100". */
#define LIMIT_RECEIVED_COUNT 100

/* Commands that came to nothing (unknown, bad syntax, out of order) before 421 4.7.0. */
#define LIMIT_SMTP_ERRORS 20

/* Refused recipients before each further answer is held back (the tarpit for harvesters). */
#define LIMIT_SMTP_UNKNOWN_RECIPIENTS 5
#define LIMIT_SMTP_TARPIT_MS          5000

/*
 * How long a client waits for the greeting of SMTP or LMTP, for 554 5.5.1 to those who talk
 * before it. Who does not wait at all has spoken by then: its octets follow the handshake in
 * microseconds. Nobody else notices.
 */
#define LIMIT_SMTP_GREETING_DELAY_MS 2

/* Transactions of one connection before 421 4.7.0: a peer with more may connect again. */
#define LIMIT_SMTP_TRANSACTIONS 1000

/* A message may be held so long before it is sent (RFC 4865): FUTURERELEASE; longer: 501 5.5.4. */
#define LIMIT_SMTP_HOLD_S (30 * 24 * 3600)

/* Silence (RFC 5321 §4.5.3.2.7 asks for 5 minutes), then 421 4.4.2. */
#define LIMIT_SMTP_IDLE_MS (5 * 60 * 1000)

/* A body slower than this many octets a second on average, once it has taken so long: 421 4.4.2. */
#define LIMIT_SMTP_BODY_RATE_MIN 100
#define LIMIT_SMTP_BODY_GRACE_MS (60 * 1000)

/* ---- SMTP and LMTP, client ------------------------------------------------------------------ */

/*
 * A reply, all its lines together (RFC 5321 §4.5.3.1.5 asks for 512 octets a line; RFC 4954 §4 for
 * 12,288 in a challenge), and its lines. More: the connection is given up.
 */
#define LIMIT_SMTP_REPLY_SIZE  (16 * 1024)
#define LIMIT_SMTP_REPLY_LINES 200

/*
 * A message on its way out, up to its last octet: that long, and for each recipient, and for its
 * size at the slowest rate (octets a second). A server that does everything at the last moment
 * holds a connection no longer: it is given up, and tried later.
 */
#define LIMIT_SMTP_SEND_MS           (30 * 60 * 1000)
#define LIMIT_SMTP_SEND_RECIPIENT_MS (10 * 1000)
#define LIMIT_SMTP_SEND_RATE_MIN     1000

/* ---- Connections -------------------------------------------------------------------------- */

/* Open connections of one listener kind from one IPv4 address or IPv6 /64: 421 4.7.0, close. */
#define LIMIT_CONNECTIONS_PER_ADDRESS 50

/* New connections a minute from one IPv4 address or IPv6 /64: 421 4.7.0, close. */
#define LIMIT_CONNECTION_RATE_PER_MINUTE 300

/* Connections of all edges; more wait in the kernel's backlog. */
#define LIMIT_CONNECTIONS 20000

/*
 * Edges there are unless the configuration says how many: one for each processor, and no more than
 * this. What comes in is then held up elsewhere.
 */
#define LIMIT_EDGES_UNASKED 4

/* A role that has not answered the warden for this long hangs: it is ended and started anew. */
#define LIMIT_ROLE_SILENCE_MS (60 * 1000)

/*
 * Accounts of which the vault notes that a mailroom's sessions watch them: a mailroom that was
 * taken over cannot fill its memory. More, and that mailroom is told of every change.
 */
#define LIMIT_WATCHED_ACCOUNTS 65536

/* All messages in flight, with their recipients, not yet committed: 452 4.3.1. */
#define LIMIT_BODIES_IN_FLIGHT_SIZE (256L * 1024 * 1024)

/*
 * Once those take more than half of it, one address (IPv4 address or IPv6 /64), or one account that
 * submits, has a quarter of it and no more: 452 4.3.1. However small the whole, this much: what the
 * largest message takes.
 */
#define LIMIT_BODIES_SHARE_SIZE_MIN (2 * 1024 * 1024)

/* A TLS handshake, or a PROXY header, that does not end: close. */
#define LIMIT_HANDSHAKE_MS (30 * 1000)

/*
 * Messages of one connection that are TLS's own (handshake, alerts, new keys): each of them costs
 * us about as much as the peer, who would keep us from serving others with nothing else. The
 * connection is over.
 */
#define LIMIT_TLS_MESSAGES 1000

/* The name of a client's address, asked of servers that strangers chose: then it has none. */
#define LIMIT_REVERSE_NAME_MS 5000

/* ---- The way out --------------------------------------------------------------------------- */

/* Questions to name servers under way in a courier: more fail, as if no server had answered. */
#define LIMIT_RESOLVER_QUESTIONS 20000

/* A question of the way out: then the destination waits. */
#define LIMIT_DNS_MS (30 * 1000)

/* A question of `postern explain`: then it says what is known by then, and what it waited for. */
#define LIMIT_EXPLAIN_MS (10 * 1000)

/* A connection in the making: then the next address is tried. */
#define LIMIT_CONNECT_MS (30 * 1000)

/*
 * How long servers may take to let us in while connections are scarce (policy/pace.h). It stops
 * many mute servers, which RFC 5321 gives minutes each, from keeping everybody else's mail.
 */
#define LIMIT_OUTBOUND_PATIENCE_MS (10 * 1000)

/*
 * A connection's search for a server that lets it in: addresses, and time in all. Then the
 * destination waits. Sixteen hosts with eight addresses each that say nothing for the minutes RFC
 * 5321 gives them would hold a connection for half a day; RFC 5321 §5.1 asks for two addresses.
 */
#define LIMIT_OUTBOUND_SEARCH_ADDRESSES 10
#define LIMIT_OUTBOUND_SEARCH_MS        (30 * 60 * 1000)

/*
 * Messages that a courier has leased, and their memory: it asks for no more until some are done.
 */
#define LIMIT_COURIER_JOBS      4000
#define LIMIT_COURIER_JOBS_SIZE (64L * 1024 * 1024)

/* Sessions of TLS that a courier may resume: some MiB at the most; the oldest make room. */
#define LIMIT_TLS_SESSIONS 256

/* How long a server that offered CHUNKING and did not know BDAT gets its mail by DATA. */
#define LIMIT_BDAT_UNKNOWN_MS (60 * 60 * 1000)

/* How long a courier that stops finishes what is at hand; the rest is given back. */
#define LIMIT_COURIER_STOP_MS 5000

/* MTA-STS policies that a courier remembers; more are asked of the vault again. */
#define LIMIT_STS_POLICIES 10000

/* An MTA-STS policy: its size (and of the response's header), and how long its fetching may take
 * (RFC 8461 §3.2, §3.3). */
#define LIMIT_FETCH_SIZE (64 * 1024)
#define LIMIT_FETCH_MS   (60 * 1000)

/* ---- IMAP and POP3 ------------------------------------------------------------------------ */

/*
 * A command; in IMAP with its literals, but without the message of APPEND. Longer: BAD [TOOBIG], or
 * -ERR; IMAP closes.
 */
#define LIMIT_IMAP_COMMAND_SIZE 65536
#define LIMIT_POP3_COMMAND_SIZE 1024
#define LIMIT_IMAP_LITERAL_SIZE LIMIT_MESSAGE_SIZE

/* A line of a SASL exchange, CRLF included. Longer: -ERR, the exchange is over. */
#define LIMIT_POP3_SASL_LINE_SIZE 8192

/* Commands in a row that came to nothing (unknown, bad syntax, out of order): the last -ERR, then
 * close. */
#define LIMIT_POP3_ERRORS 20

/*
 * IMAP: commands in a row that were not the protocol before BYE; keys of one SEARCH and how deep
 * they may nest; ranges of one message set; items of a list, or of all lists of header fields of a
 * FETCH; octets of the patterns of one LIST: BAD.
 */
#define LIMIT_IMAP_ERRORS       20
#define LIMIT_IMAP_SEARCH_KEYS  500
#define LIMIT_IMAP_DEPTH        32
#define LIMIT_IMAP_SET_RANGES   10000
#define LIMIT_IMAP_LIST_ITEMS   500
#define LIMIT_IMAP_PATTERN_SIZE 1024

/* RFC 3501 §5.4 asks for at least 30 minutes, RFC 1939 §3 for 10. */
#define LIMIT_IMAP_IDLE_MS (31 * 60 * 1000)
#define LIMIT_POP3_IDLE_MS (10 * 60 * 1000)

/* A connection that has not logged in by then is closed (BYE, -ERR). */
#define LIMIT_LOGIN_MS (60 * 1000)

/* Wrong passwords on one connection before it is closed. */
#define LIMIT_LOGIN_FAILURES 3

/* ---- MIME --------------------------------------------------------------------------------- */

/*
 * Nesting and number of parts that are told apart; what lies deeper is one opaque part. Octets of a
 * header that are looked at; in a submission a larger one is 552 5.3.4.
 */
#define LIMIT_MIME_DEPTH  32
#define LIMIT_MIME_PARTS  1000
#define LIMIT_HEADER_SIZE (256 * 1024)

/* ---- Store -------------------------------------------------------------------------------- */

/* Plain bytes of a stored chunk of a body. */
#define LIMIT_CHUNK_SIZE (64 * 1024)

/* How long a vault transaction may hold everybody else up, including its sync. */
#define LIMIT_VAULT_TRANSACTION_MS 20

/* How long a lost 250 is remembered (promise 3: RFC 1047). */
#define LIMIT_RETRANSMISSION_MS (5LL * 24 * 60 * 60 * 1000)

/*
 * What an expunged message counts besides its octets, and a removed mailbox and each of its
 * keywords: for the rows that stay until they are purged. All of that an account may leave behind
 * as much of as its quota; the oldest of what is more goes at once. So nobody fills the disk past
 * his quota by adding and expunging.
 */
#define LIMIT_EXPUNGED_ROW_SIZE 1024

/* How long the steps of a message can be asked for. */
#define LIMIT_TRACE_MS (30LL * 24 * 60 * 60 * 1000)

/* Messages one request changes before it answers with what it has done so far. */
#define LIMIT_VAULT_SLICE 1000

/* Chunks of bodies that one transaction removes: giving the pages of more back takes too long. */
#define LIMIT_VAULT_CHUNKS 64

/* Bodies of one sender that are arriving in pieces: far more than have room in an edge. BUSY, 451.
 */
#define LIMIT_VAULT_STAGED 4096

/* Long requests that wait in the vault's memory for a later transaction. More do a little at once.
 */
#define LIMIT_VAULT_PUT_OFF_SIZE (64UL * 1024 * 1024)

/* Levels of a mailbox name and octets of one: NO [CANNOT]. */
#define LIMIT_MAILBOX_DEPTH     16
#define LIMIT_MAILBOX_NAME_SIZE 255

/* Mailboxes of an account, names it subscribes to, and different keywords of a mailbox: NO [LIMIT].
 */
#define LIMIT_MAILBOXES 10000
#define LIMIT_KEYWORDS  1000

/* Octets of the keywords of one message: NO [LIMIT]. */
#define LIMIT_KEYWORDS_SIZE 2048

/* How long what was expunged or removed stays in the database, for second thoughts. */
#define LIMIT_RETENTION_EXPUNGED_MS (7LL * 24 * 60 * 60 * 1000)

/*
 * Mailboxes and addresses elsewhere that one message goes to, over all its recipients and their
 * aliases: it is one commit, which all others wait for. 452: the rest comes in another transaction.
 * One address alone may have as many (LIMIT_ALIAS_ADDRESSES).
 */
#define LIMIT_MESSAGE_WAYS 2000

/* Targets of one alias. */
#define LIMIT_ALIAS_TARGETS 1000

/* ---- Queue -------------------------------------------------------------------------------- */

/* Rows of the queue that couriers hold at once: what is being delivered is all that costs memory.
 */
#define LIMIT_QUEUE_LEASES 50000

/* Octets of a remote's words that are kept of an attempt. */
#define LIMIT_QUEUE_WORDS_SIZE 1024

/* Octets of a destination's name: "route:", "dns:" or "literal:" and a name. */
#define LIMIT_DESTINATION_SIZE 300

/* How long an MTA-STS policy is kept that nobody has fetched anew (max_age is a year at most).
 */
#define LIMIT_STS_POLICY_MS (366LL * 24 * 60 * 60 * 1000)

/* How long something is known of a destination that nothing waits for. */
#define LIMIT_DESTINATION_MS (7LL * 24 * 60 * 60 * 1000)

/* ---- Recipients --------------------------------------------------------------------------- */

/* How deep aliases may lead to aliases, and to how many addresses in all: 550 5.2.4. */
#define LIMIT_ALIAS_DEPTH     10
#define LIMIT_ALIAS_ADDRESSES 2000

/* ---- Routes, pace and patience ------------------------------------------------------------- */

/*
 * Hosts of a destination that are looked up, and addresses of one that are tried: a zone with
 * thousands of them costs no more than that. What is over it is left out, the worst preference
 * first.
 */
#define LIMIT_ROUTE_HOSTS     16
#define LIMIT_ROUTE_ADDRESSES 8

/* How long a message is tried (RFC 5321 §4.5.4.1 asks for 4 to 5 days): 5.4.7. */
#define LIMIT_QUEUE_LIFETIME_MS (5LL * 24 * 60 * 60 * 1000)

/* When a sender who wants to know (RFC 3461 DELAY) is told that it takes longer. */
#define LIMIT_QUEUE_DELAY_NOTICE_MS (4 * 60 * 60 * 1000)

/* The longest that nobody goes to a destination that could not be reached. */
#define LIMIT_DESTINATION_RETRY_MS (60 * 60 * 1000)

/* Times of the retry schedule that a configuration may have. */
#define LIMIT_QUEUE_RETRIES 32

/* Connections to other servers: all, and to one destination when it takes them well. */
#define LIMIT_OUTBOUND_CONNECTIONS                 500
#define LIMIT_OUTBOUND_CONNECTIONS_PER_DESTINATION 20

/* Messages over one connection before a new one is made. */
#define LIMIT_OUTBOUND_MESSAGES_PER_CONNECTION 100

/* Recipients elsewhere of one account and day: what is over it is held for the operator. */
#define LIMIT_OUTBOUND_RECIPIENTS_PER_DAY 2000

/* ---- Between roles ------------------------------------------------------------------------ */

/* A frame between roles. Larger ends the channel: only a broken or hostile role sends it. */
#define LIMIT_IPC_FRAME_SIZE (2 * 1024 * 1024)

/*
 * Bytes queued on a channel: above the first, requests are refused (the asker says 4xx) and, where
 * they are replies, no further requests are read; above the second the peer has stopped reading
 * and its channel ends.
 */
#define LIMIT_IPC_QUEUE_SIZE     (8 * 1024 * 1024)
#define LIMIT_IPC_QUEUE_SIZE_MAX (32 * 1024 * 1024)

/* Requests on a channel without their reply: more are refused, or not read, until some have it. */
#define LIMIT_IPC_CALLS 16384

/* Memory for the lists of one message while it is handled. */
#define LIMIT_IPC_LISTS_SIZE (8 * LIMIT_IPC_FRAME_SIZE)

/* Descriptors queued on a channel. */
#define LIMIT_IPC_DESCRIPTORS 1024

#endif
