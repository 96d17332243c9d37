#include "roles/config_set.h"

#include "roles/config_value.h"

struct str config_argument(const struct conf_directive *given, size_t word)
{
    return given->words[word].text;
}

/* Says what is wrong with a word, if anything; true where nothing is. */
bool config_is_right(struct config_reader *r, const struct conf_directive *given, size_t word,
                     const char *wrong)
{
    if (wrong)
        config_wrong_word(r, given, word, wrong);
    return !wrong;
}

/* ---- General setters: the field at the row's offset ------------------------------------------ */

static void *field(struct config_reader *r, const struct config_directive *row)
{
    return (char *)r->config + row->offset;
}

static void set_in_range(struct config_reader *r, const struct config_directive *row,
                         const struct conf_directive *given, uint64_t value)
{
    if (value < row->min)
        config_wrong_word(r, given, 1, "is less than this may be");
    else if (value > row->max)
        config_wrong_word(r, given, 1, "is more than this may be");
    else
        *(uint64_t *)field(r, row) = value;
}

void config_set_count(struct config_reader *r, const struct config_directive *row,
                      const struct conf_directive *given)
{
    uint64_t value;
    if (str_to_u64(config_argument(given, 1), UINT64_MAX, &value))
        set_in_range(r, row, given, value);
    else
        config_wrong_word(r, given, 1, "is no number");
}

void config_set_size(struct config_reader *r, const struct config_directive *row,
                     const struct conf_directive *given)
{
    uint64_t value;
    if (config_is_right(r, given, 1, config_value_size(config_argument(given, 1), &value)))
        set_in_range(r, row, given, value);
}

void config_set_duration(struct config_reader *r, const struct config_directive *row,
                         const struct conf_directive *given)
{
    uint64_t value;
    if (config_is_right(r, given, 1, config_value_duration(config_argument(given, 1), &value)))
        set_in_range(r, row, given, value);
}

void config_set_yes_no(struct config_reader *r, const struct config_directive *row,
                       const struct conf_directive *given)
{
    config_is_right(r, given, 1,
                    config_value_yes_no(config_argument(given, 1), (bool *)field(r, row)));
}

void config_set_domain(struct config_reader *r, const struct config_directive *row,
                       const struct conf_directive *given)
{
    struct str *name = (struct str *)field(r, row);
    config_is_right(r, given, 1, config_value_domain(r->arena, config_argument(given, 1), name));
}

/* An absolute path of at most row->max bytes. */
void config_set_path(struct config_reader *r, const struct config_directive *row,
                     const struct conf_directive *given)
{
    struct str *path = (struct str *)field(r, row);
    config_is_right(r, given, 1,
                    config_value_path(config_argument(given, 1), (size_t)row->max, path));
}

/* Appends each argument. */
void config_add_networks(struct config_reader *r, const struct conf_directive *given,
                         struct networks *networks)
{
    for (size_t i = 1; i < given->word_count; i++) {
        struct network network = {0};
        if (!config_is_right(r, given, i,
                             config_value_network(config_argument(given, i), &network)))
            continue;
        struct network *list = config_grow(r, networks->list, networks->count, sizeof *list);
        if (!list)
            return;
        networks->list = list;
        list[networks->count++] = network;
    }
}

void config_set_networks(struct config_reader *r, const struct config_directive *row,
                         const struct conf_directive *given)
{
    config_add_networks(r, given, (struct networks *)field(r, row));
}
