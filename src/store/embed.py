#!/usr/bin/env python3
"""Makes a C string of a text file: embed.py FILE NAME OUTPUT."""

import sys

source, name, output = sys.argv[1:]
with open(source, encoding='utf-8') as text, open(output, 'w', encoding='ascii') as out:
    print(f'#include "store/schema.h"\n\nconst char {name}[] =', file=out)
    for line in text:
        line = line.split('--')[0].rstrip()
        if line:
            print('    "' + line.replace('\\', '\\\\').replace('"', '\\"') + '\\n"', file=out)
    print('    ;', file=out)
