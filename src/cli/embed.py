#!/usr/bin/env python3
"""Makes C strings of text files: embed.py OUTPUT FILE=NAME..."""

import sys

with open(sys.argv[1], 'w', encoding='ascii') as out:
    print('#include "cli/setup_files.h"\n', file=out)
    for pair in sys.argv[2:]:
        source, name = pair.rsplit('=', 1)
        print(f'const char {name}[] =', file=out)
        with open(source, encoding='utf-8') as text:
            for line in text:
                words = line.rstrip('\n').replace('\\', '\\\\').replace('"', '\\"')
                print(f'    "{words}\\n"', file=out)
        print('    ;\n', file=out)
