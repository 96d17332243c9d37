/*
 * Runs a libFuzzer target without libFuzzer: first every file of the corpus folder given, then a
 * bounded number of mutations of them from a fixed seed (so a failure repeats). With
 * REPLAY_KEEP=FILE each input is written to FILE before it is run: after a crash FILE holds the
 * one that did it.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 1 << 16, FILES_MAX = 4096, ROUNDS = 20000, SECONDS_MAX = 5 };

struct input {
    uint8_t *data;
    size_t size;
};

static uint64_t seed = 0x9E3779B97F4A7C15u;

static uint64_t draw(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static struct input read_input(const char *folder, const char *name)
{
    char path[4096];
    struct input in = {malloc(INPUT_MAX), 0};
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    if (!file || !in.data) {
        fprintf(stderr, "replay: cannot read %s\n", path);
        exit(2);
    }
    in.size = fread(in.data, 1, INPUT_MAX, file);
    fclose(file);
    return in;
}

static void keep(const uint8_t *data, size_t size)
{
    const char *path = getenv("REPLAY_KEEP");
    FILE *file = path ? fopen(path, "wb") : NULL;
    if (!file)
        return;
    fwrite(data, 1, size, file);
    fclose(file);
}

/* Exactly sized copies, so that a read past the end is seen by the sanitizers. */
static void run(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    memcpy(copy, data, size);
    keep(data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static void mutate(uint8_t *data, size_t *size, const struct input *other)
{
    for (uint64_t edits = 1 + draw() % 4; edits > 0; edits--) {
        size_t at = *size ? draw() % *size : 0;
        switch (draw() % 5) {
        case 0:
            if (*size)
                data[at] = (uint8_t)draw();
            break;
        case 1:
            if (*size)
                data[at] ^= (uint8_t)(1u << draw() % 8);
            break;
        case 2: /* cut the end */
            *size = at;
            break;
        case 3: /* drop a byte */
            if (*size) {
                memmove(data + at, data + at + 1, *size - at - 1);
                --*size;
            }
            break;
        default: /* splice in the tail of another input */
            if (other->size) {
                size_t from = draw() % other->size;
                size_t len = other->size - from;
                if (len > INPUT_MAX - at)
                    len = INPUT_MAX - at;
                memcpy(data + at, other->data + from, len);
                *size = at + len;
            }
        }
    }
}

int main(int argc, char **argv)
{
    static struct input inputs[FILES_MAX];
    static uint8_t work[INPUT_MAX];
    size_t count = 0;
    DIR *folder = argc == 2 ? opendir(argv[1]) : NULL;
    if (!folder) {
        fprintf(stderr, "usage: %s CORPUS-FOLDER\n", argv[0]);
        return 2;
    }
    for (struct dirent *file; (file = readdir(folder)) && count < FILES_MAX;)
        if (file->d_name[0] != '.')
            inputs[count++] = read_input(argv[1], file->d_name);
    closedir(folder);
    if (count == 0) {
        fprintf(stderr, "replay: the corpus %s is empty\n", argv[1]);
        return 2;
    }
    for (size_t i = 0; i < count; i++)
        run(inputs[i].data, inputs[i].size);
    time_t end = time(NULL) + SECONDS_MAX;
    for (int round = 0; round < ROUNDS && time(NULL) < end; round++) {
        const struct input *in = &inputs[draw() % count];
        size_t size = in->size;
        memcpy(work, in->data, size);
        mutate(work, &size, &inputs[draw() % count]);
        run(work, size);
    }
    for (size_t i = 0; i < count; i++)
        free(inputs[i].data);
    return 0;
}
