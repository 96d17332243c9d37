#!/usr/bin/env python3
"""Makes ipc_messages.h and ipc_messages.c from ipc.table (its head explains the language)."""

import re
import sys

INTEGERS = {'u8': 'uint8_t', 'u16': 'uint16_t', 'u32': 'uint32_t', 'u64': 'uint64_t'}
WIRE = {'bool': 1, 'u8': 1, 'u16': 2, 'u32': 4, 'u64': 8, 'i64': 8, 'status': 1,
        'bytes': 4, 'text': 4, 'secret': 4}
# One letter a type, for tests that walk a payload without the generated code.
LETTER = {'bool': '?', 'u8': '1', 'u16': '2', 'u32': '4', 'u64': '8', 'i64': '8', 'status': 's',
          'bytes': '*', 'text': '*', 'secret': '*'}


class Field:
    def __init__(self, kind, name, of=None):
        self.kind, self.name, self.of = kind, name, of


class Message:
    def __init__(self, is_call, name, number, senders, receivers):
        self.is_call, self.name, self.number = is_call, name, number
        self.senders, self.receivers = senders, receivers
        self.ins, self.outs, self.carries_fd, self.has_out = [], [], False, False


class Table:
    def __init__(self):
        self.version, self.roles, self.structs, self.messages = None, [], {}, []
        self.enums = {}


def fail(number, words):
    sys.exit(f'ipc.table:{number}: {words}')


def parse_head(table, words, number):
    match = re.fullmatch(r'(call|note) ([a-z_]+) (\d+) ([a-z,]+) -> ([a-z,]+)', ' '.join(words))
    if not match:
        fail(number, 'expected: call|note NAME NUMBER FROM[,FROM] -> TO[,TO]')
    message = Message(match[1] == 'call', match[2], int(match[3]), match[4].split(','),
                      match[5].split(','))
    for role in message.senders + message.receivers:
        if role not in table.roles:
            fail(number, f'no such role: {role}')
    if not 0 < message.number < 256:
        fail(number, 'numbers are 1 to 255')
    for other in table.messages:
        if other.number == message.number or other.name == message.name:
            fail(number, f'{message.name} {message.number} is there already')
    table.messages.append(message)
    return message


def parse_field(table, words, number):
    if words[0] in WIRE and len(words) == 2:
        return Field(words[0], words[1])
    if words[0] in ('list', 'struct') and len(words) == 3:
        if words[1] not in table.structs:
            fail(number, f'no such struct: {words[1]}')
        return Field(words[0], words[2], words[1])
    fail(number, 'not a field: ' + ' '.join(words))


def parse_value(values, words, number):
    if len(words) != 2 or not words[1].isdigit():
        fail(number, 'expected: VALUE NUMBER')
    if words[0] in values or int(words[1]) in values.values():
        fail(number, ' '.join(words) + ' is there already')
    values[words[0]] = int(words[1])


def parse(lines):
    table, message, fields, values = Table(), None, None, None
    for number, line in enumerate(lines, 1):
        words = line.split('#')[0].split()
        if not words:
            continue
        indented = line[0].isspace()
        if not indented:
            values = None
        if not indented and words[0] == 'version':
            table.version = int(words[1])
        elif not indented and words[0] == 'roles':
            table.roles = words[1:]
        elif not indented and words[0] == 'struct':
            message, fields = None, []
            table.structs[words[1]] = fields
        elif not indented and words[0] == 'enum':
            message, fields = None, None
            values = table.enums[words[1]] = {}
        elif indented and values is not None:
            parse_value(values, words, number)
        elif not indented and words[0] in ('call', 'note'):
            message = parse_head(table, words, number)
            fields = message.ins
        elif not indented and words == ['out'] and message and message.is_call:
            message.has_out, fields = True, message.outs
        elif indented and words == ['carries', 'fd'] and message:
            message.carries_fd = True
        elif indented and fields is not None:
            fields.append(parse_field(table, words, number))
        else:
            fail(number, 'not understood: ' + line.strip())
    for message in table.messages:
        if message.is_call and not message.outs:
            sys.exit(f'ipc.table: call {message.name} has no out')
    for name, fields in table.structs.items():
        if not fields:
            sys.exit(f'ipc.table: struct {name} is empty')
    return table


def wire_min(table, field):
    if field.kind == 'struct':
        return sum(wire_min(table, f) for f in table.structs[field.of])
    return 4 if field.kind == 'list' else WIRE[field.kind]


def shape(table, fields):
    text = ''
    for field in fields:
        if field.kind == 'list':
            text += '[' + shape(table, table.structs[field.of]) + ']'
        elif field.kind == 'struct':
            text += shape(table, table.structs[field.of])
        else:
            text += LETTER[field.kind]
    return text


def has_secret(table, fields):
    return any(f.kind == 'secret' or f.of and has_secret(table, table.structs[f.of])
               for f in fields)


def declare(field):
    if field.kind in INTEGERS:
        return [f'{INTEGERS[field.kind]} {field.name};']
    if field.kind == 'list':
        return [f'const struct ipc_{field.of} *{field.name};', f'size_t {field.name}_count;']
    return [{'bool': 'bool ', 'i64': 'int64_t ', 'status': 'enum status_code ',
             'bytes': 'struct str ', 'secret': 'struct str ', 'text': 'struct text ',
             'struct': f'struct ipc_{field.of} '}[field.kind] + f'{field.name};']


def struct_lines(name, fields, extra=()):
    lines = [f'struct {name} {{']
    for field in fields:
        lines += ['    ' + line for line in declare(field)]
    return lines + ['    ' + line for line in extra] + ['};', '']


def put_lines(field):
    at = f'm->{field.name}'
    if field.kind in INTEGERS:
        return [f'put_{field.kind}(out, {at});']
    if field.kind == 'list':
        return [f'put_count(out, {at}_count);',
                f'for (size_t i = 0; i < {at}_count; i++)',
                f'    put_{field.of}(out, &{at}[i]);']
    return [{'bool': f'put_u8(out, {at});', 'i64': f'put_u64(out, (uint64_t){at});',
             'status': f'put_u8(out, (uint8_t){at});', 'bytes': f'put_bytes(out, {at});',
             'secret': f'put_bytes(out, {at});', 'text': f'put_bytes(out, text_peek({at}));',
             'struct': f'put_{field.of}(out, &{at});'}[field.kind]]


def get_lines(table, field):
    at = f'm->{field.name}'
    if field.kind in INTEGERS:
        return [f'{at} = cursor_{field.kind}(c);']
    if field.kind == 'list':
        least = sum(wire_min(table, f) for f in table.structs[field.of])
        return ['{',
                f'    struct ipc_{field.of} *list =',
                f'        cursor_list(c, {least}, sizeof *list, &{at}_count);',
                f'    for (size_t i = 0; i < {at}_count; i++)',
                f'        get_{field.of}(c, &list[i]);',
                f'    {at} = list;',
                '}']
    return [{'bool': f'{at} = cursor_bool(c);', 'i64': f'{at} = (int64_t)cursor_u64(c);',
             'status': f'{at} = get_status(c);', 'bytes': f'{at} = cursor_bytes(c);',
             'secret': f'{at} = cursor_bytes(c);', 'text': f'{at} = text_from(cursor_bytes(c));',
             'struct': f'get_{field.of}(c, &{at});'}[field.kind]]


def codec_lines(table, suffix, ctype, fields):
    lines = [f'static void put_{suffix}(struct buf *out, const struct {ctype} *m)', '{']
    for field in fields:
        lines += ['    ' + line for line in put_lines(field)]
    lines += ['}', '', f'static void get_{suffix}(struct cursor *c, struct {ctype} *m)', '{']
    for field in fields:
        lines += ['    ' + line for line in get_lines(table, field)]
    return lines + ['}', '']


def has_in(message):
    return bool(message.ins) or message.carries_fd


def in_argument(message):
    return f', const struct ipc_{message.name}_in *in' if has_in(message) else ''


def handler_type(message):
    call = ', uint32_t id' if message.is_call else ''
    return (f'void (*{message.name})(void *context, struct channel *from{call}'
            f'{in_argument(message)});')


def prototypes(m):
    if not m.is_call:
        return [f'bool ipc_{m.name}_note(struct channel *ch{in_argument(m)})']
    return [f'uint32_t ipc_{m.name}_call(struct channel *ch{in_argument(m)}, '
            f'ipc_{m.name}_replied *replied, void *context)',
            f'void ipc_{m.name}_reply(struct channel *ch, uint32_t id, '
            f'const struct ipc_{m.name}_out *out)']


HEADER_TOP = '''#ifndef POSTERN_IPC_MESSAGES_H
#define POSTERN_IPC_MESSAGES_H

/* Made from ipc.table by generate.py. How to use what stands here: ipc/channel.h. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/status.h"
#include "base/str.h"
#include "base/text.h"

struct channel;
struct cursor;
'''

HEADER_TYPE = '''/* What the channel knows of a message; found by its number. */
struct ipc_type {
    const char *name;
    uint8_t number;
    bool is_call;
    bool carries_fd;
    bool in_secret;
    bool out_secret;
    unsigned senders;
    unsigned receivers;

    /* One letter a field: ? bool, 1 2 4 8 integers, s status, * bytes, [ ] a list of these. */
    const char *in_shape;
    const char *out_shape;

    /*
     * Decodes and calls the handler, or the caller's reply function (with a status other than OK:
     * without decoding). False, and nobody is called, where the bytes are malformed or there is no
     * handler. From a true on, fd belongs to the handler.
     */
    bool (*deliver)(const struct ipc_handlers *handlers, void *context, struct channel *from,
                    uint32_t id, struct cursor *c, int fd);
    bool (*deliver_reply)(void (*replied)(void), void *context, enum status_code status,
                          struct cursor *c);

    /* Decodes a payload and encodes it again: equal bytes, or false. For tests. */
    bool (*recode)(bool is_reply, struct cursor *c, struct buf *out);
};

/* NULL where there is no such message. */
const struct ipc_type *ipc_type_find(uint8_t number);

/* "edge"; "?" for no role. */
const char *ipc_role_name(enum ipc_role role);

/* 0 where there is none of that name. */
enum ipc_role ipc_role_find(struct str name);

static inline unsigned ipc_role_bit(enum ipc_role role)
{
    return 1u << role;
}
'''


def header(table):
    lines = [HEADER_TOP, f'enum {{ IPC_VERSION = {table.version} }};', '', 'enum ipc_role {']
    lines += [f'    ROLE_{role.upper()} = {i},' for i, role in enumerate(table.roles, 1)]
    lines += [f'    ROLE_END = {len(table.roles) + 1}', '};', '', 'enum {']
    lines += [f'    IPC_{m.name.upper()} = {m.number},' for m in table.messages] + ['};', '']
    for name, values in table.enums.items():
        words = [f'    IPC_{name.upper()}_{word.upper()} = {n},' for word, n in values.items()]
        lines += ['enum {'] + words + ['};', '']
    for name, fields in table.structs.items():
        lines += struct_lines('ipc_' + name, fields)
    for m in table.messages:
        if has_in(m):
            lines += struct_lines(f'ipc_{m.name}_in', m.ins, ['int fd;'] if m.carries_fd else [])
        if m.is_call:
            lines += struct_lines(f'ipc_{m.name}_out', m.outs)
            lines += [f'typedef void ipc_{m.name}_replied(void *context, enum status_code status, '
                      f'const struct ipc_{m.name}_out *out);', '']
    lines += ['/* A role fills in what it receives. */', 'struct ipc_handlers {']
    lines += ['    ' + handler_type(m) for m in table.messages] + ['};', '']
    for m in table.messages:
        lines += [p + ';' for p in prototypes(m)]
    return '\n'.join(lines + ['', HEADER_TYPE, '#endif', ''])


SOURCE_TOP = '''#include "ipc/ipc_messages.h"

#include "ipc/channel_codec.h"
#include "ipc/cursor.h"

static enum status_code get_status(struct cursor *c)
{
    uint8_t value = cursor_u8(c);
    if (value >= STATUS_COUNT)
        c->failed = true;
    return value < STATUS_COUNT ? (enum status_code)value : STATUS_CORRUPT;
}
'''


def deliver_lines(m):
    call = ', id' if m.is_call else ''
    lines = [f'static bool deliver_{m.name}(const struct ipc_handlers *h, void *context, '
             'struct channel *from, uint32_t id, struct cursor *c, int fd)', '{']
    if not m.is_call:
        lines += ['    (void)id;']
    if m.ins:
        lines += [f'    struct ipc_{m.name}_in in = {{0}};', f'    get_{m.name}_in(c, &in);']
    elif m.carries_fd:
        lines += [f'    struct ipc_{m.name}_in in = {{0}};']
    lines += ['    in.fd = fd;'] if m.carries_fd else ['    (void)fd;']
    lines += [f'    if (!h->{m.name} || !cursor_done(c))', '        return false;',
              f'    h->{m.name}(context, from{call}{", &in" if has_in(m) else ""});',
              '    return true;', '}', '']
    if not m.is_call:
        return lines
    return lines + [
        f'static bool deliver_{m.name}_reply(void (*replied)(void), void *context, '
        'enum status_code status, struct cursor *c)', '{',
        f'    struct ipc_{m.name}_out out = {{0}};',
        '    if (status == STATUS_OK) {', f'        get_{m.name}_out(c, &out);',
        '        if (!cursor_done(c))', '            return false;', '    }',
        f'    ((ipc_{m.name}_replied *)replied)(context, status, '
        'status == STATUS_OK ? &out : NULL);', '    return true;', '}', '']


def recode_lines(m):
    lines = [f'static bool recode_{m.name}(bool is_reply, struct cursor *c, struct buf *out)', '{']
    if m.is_call:
        lines += ['    if (is_reply) {', f'        struct ipc_{m.name}_out reply = {{0}};',
                  f'        get_{m.name}_out(c, &reply);', f'        put_{m.name}_out(out, &reply);',
                  '        return cursor_done(c);', '    }']
    else:
        lines += ['    if (is_reply)', '        return false;']
    if m.ins:
        lines += [f'    struct ipc_{m.name}_in in = {{0}};', f'    get_{m.name}_in(c, &in);',
                  f'    put_{m.name}_in(out, &in);']
    else:
        lines += ['    (void)out;']
    return lines + ['    return cursor_done(c);', '}', '']


def send_lines(m):
    fd = 'in->fd' if m.carries_fd else '-1'
    put = [f'    if (out)', f'        put_{m.name}_in(out, in);'] if m.ins else []
    begin = f'    struct buf *out = channel_begin(ch, &ipc_types[IPC_{m.name.upper()}], {fd});'
    first = [prototypes(m)[0], '{', begin] + put
    if not m.is_call:
        return first + ['    return out && channel_end_note(ch);', '}', '']
    return first + [
        '    return out ? channel_end_call(ch, (void (*)(void))replied, context) : 0;', '}', '',
        prototypes(m)[1], '{',
        f'    struct buf *buf = channel_begin_reply(ch, &ipc_types[IPC_{m.name.upper()}], id);',
        '    if (buf)', f'        put_{m.name}_out(buf, out);',
        '    channel_end_reply(ch, buf != NULL);', '}', '']


def type_lines(table, m):
    def bits(roles):
        return ' | '.join(f'1u << ROLE_{role.upper()}' for role in roles)

    def flag(value):
        return 'true' if value else 'false'
    lines = [f'    [IPC_{m.name.upper()}] = {{',
             f'        .name = "{m.name}", .number = {m.number}, .is_call = {flag(m.is_call)},',
             f'        .carries_fd = {flag(m.carries_fd)},',
             f'        .in_secret = {flag(has_secret(table, m.ins))},',
             f'        .out_secret = {flag(has_secret(table, m.outs))},',
             f'        .senders = {bits(m.senders)},', f'        .receivers = {bits(m.receivers)},',
             f'        .in_shape = "{shape(table, m.ins)}",',
             f'        .out_shape = "{shape(table, m.outs)}",',
             f'        .deliver = deliver_{m.name}, .recode = recode_{m.name},']
    if m.is_call:
        lines += [f'        .deliver_reply = deliver_{m.name}_reply,']
    return lines + ['    },']


def source(table):
    lines = [SOURCE_TOP]
    for name, fields in table.structs.items():
        lines += codec_lines(table, name, 'ipc_' + name, fields)
    for m in table.messages:
        if m.ins:
            lines += codec_lines(table, m.name + '_in', f'ipc_{m.name}_in', m.ins)
        if m.is_call:
            lines += codec_lines(table, m.name + '_out', f'ipc_{m.name}_out', m.outs)
        lines += deliver_lines(m) + recode_lines(m)
    lines += ['static const struct ipc_type ipc_types[256] = {']
    for m in table.messages:
        lines += type_lines(table, m)
    lines += ['};', '', 'const struct ipc_type *ipc_type_find(uint8_t number)', '{',
              '    return ipc_types[number].name ? &ipc_types[number] : NULL;', '}', '',
              'static const char *const role_names[ROLE_END] = {']
    lines += [f'    [ROLE_{role.upper()}] = "{role}",' for role in table.roles]
    lines += ['};', '', 'const char *ipc_role_name(enum ipc_role role)', '{',
              '    return role > 0 && role < ROLE_END ? role_names[role] : "?";', '}', '',
              'enum ipc_role ipc_role_find(struct str name)', '{',
              '    for (int i = 1; i < ROLE_END; i++)',
              '        if (str_eq(name, str_from_c(role_names[i])))',
              '            return (enum ipc_role)i;',
              '    return (enum ipc_role)0;', '}', '']
    for m in table.messages:
        lines += send_lines(m)
    return '\n'.join(lines)


def main():
    table_path, header_path, source_path = sys.argv[1:]
    with open(table_path, encoding='utf-8') as file:
        table = parse(file.read().splitlines())
    for path, text in ((header_path, header(table)), (source_path, source(table))):
        with open(path, 'w', encoding='ascii') as file:
            file.write(text)


main()
