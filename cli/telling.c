/* SPDX-License-Identifier: MIT */
#include "cli/telling.h"

#include <stdio.h>
#include <string.h>

enum { COMM_MAX = 15, CONTAINER_MAX = 12 };

/* A word of a command line. */
struct word {
    const char *text;
    size_t length;
};

/* How an interpreter's command line is read. */
struct interpreter {
    const char *name;       /* may be followed by a version: "python3.11" */
    const char *with_value; /* options whose value is the next word, each between blanks */
    const char *naming;     /* of these, the ones whose value is what runs: a module, a jar */
    const char *anonymous;  /* options that bring the program's text itself */
};

static const struct interpreter interpreters[] = {
    {"python", " -W -X -m -Q --check-hash-based-pycs ", " -m ", " -c "},
    {"pypy", " -W -X -m ", " -m ", " -c "},
    {"node", " -r --require --import --loader --env-file -C ", " ", " -e -p --eval --print "},
    {"java", " -cp -classpath --class-path -p --module-path -jar -m --module --add-modules ",
     " -jar -m --module ", " "},
    {"bash", " -o -O --rcfile --init-file ", " ", " -c "},
    {"dash", " -o ", " ", " -c "},
    {"sh", " -o ", " ", " -c "},
    {"zsh", " -o ", " ", " -c "},
    {"perl", " ", " ", " -e -E "},
    {"ruby", " -r -I -C ", " ", " -e "},
    {"Rscript", " ", " ", " -e "},
    {"julia", " -L -t -p -C ", " ", " -e -E "},
};

static struct word next_word(const char **rest)
{
    *rest += strspn(*rest, " ");
    struct word word = {*rest, strcspn(*rest, " ")};
    *rest += word.length;
    return word;
}

static struct word base_name(struct word word)
{
    for (size_t i = word.length; i > 0; i--) {
        if (word.text[i - 1] == '/' && i < word.length) {
            return (struct word){word.text + i, word.length - i};
        }
    }
    return word;
}

static bool is_word(struct word word, const char *text)
{
    return strlen(text) == word.length && memcmp(word.text, text, word.length) == 0;
}

/* Whether the word is in a list whose words stand between blanks. */
static bool is_listed(struct word word, const char *list)
{
    for (const char *rest = list; *rest;) {
        struct word entry = next_word(&rest);
        if (entry.length > 0 && entry.length == word.length &&
            memcmp(entry.text, word.text, word.length) == 0) {
            return true;
        }
    }
    return false;
}

static const struct interpreter *find_interpreter(struct word program)
{
    for (size_t i = 0; i < ARRAY_LENGTH(interpreters); i++) {
        size_t length = strlen(interpreters[i].name);
        if (program.length < length || memcmp(program.text, interpreters[i].name, length) != 0) {
            continue;
        }
        size_t version = length;
        while (version < program.length && strchr("0123456789.", program.text[version])) {
            version++;
        }
        if (version == program.length) {
            return &interpreters[i];
        }
    }
    return NULL;
}

/* "main.py" says little; "ComfyUI/main.py" says it all. */
static struct word with_directory(struct word path)
{
    static const char common[] =
        " main.py app.py server.py run.py launch.py webui.py train.py api.py cli.py __main__.py "
        "index.js main.js server.js app.js run.sh start.sh ";
    struct word base = base_name(path);
    if (base.text - path.text < 2 || !is_listed(base, common)) {
        return base;
    }
    struct word directory =
        base_name((struct word){path.text, (size_t)(base.text - path.text) - 1});
    if (is_word(directory, ".") || is_word(directory, "..")) {
        return base;
    }
    return (struct word){directory.text, (size_t)(base.text + base.length - directory.text)};
}

/* What the interpreter runs; an empty word where its command line does not say. */
static struct word find_script(const struct interpreter *interpreter, const char *rest)
{
    struct word word;
    while ((word = next_word(&rest)).length > 0) {
        if (word.text[0] != '-') {
            return with_directory(word);
        }
        if (is_word(word, "-") || is_listed(word, interpreter->anonymous)) {
            break;
        }
        if (is_listed(word, interpreter->naming)) {
            return base_name(next_word(&rest));
        }
        if (is_listed(word, interpreter->with_value)) {
            (void)next_word(&rest);
        }
    }
    return (struct word){rest, 0};
}

/* The kernel keeps 15 bytes of a name. Its rest may stand in the command line. */
static struct word uncut_name(const char *name, struct word program)
{
    size_t length = strlen(name);
    if (length == COMM_MAX && program.length > length && memcmp(program.text, name, length) == 0) {
        return program;
    }
    return (struct word){name, length};
}

static bool is_hidden(const struct vram_process *process)
{
    char hidden[24];
    (void)snprintf(hidden, sizeof(hidden), "pid_%u", (unsigned)process->pid);
    return strcmp(process->name, hidden) == 0;
}

/* Services have names of their own; sessions and slices are numbered. */
static bool is_service(const char *unit)
{
    static const char ending[] = ".service";
    size_t length = unit ? strlen(unit) : 0;
    return length >= sizeof(ending) && strcmp(unit + length - (sizeof(ending) - 1), ending) == 0;
}

void telling_name(struct buf *name, const struct vram_process *process)
{
    const char *rest = process->command ? process->command : "";
    struct word program = base_name(next_word(&rest));
    struct word own = uncut_name(process->name, program);
    const struct interpreter *interpreter = find_interpreter(program);
    if (interpreter) {
        struct word script = find_script(interpreter, rest);
        if (script.length > 0) {
            buf_add(name, script.text, script.length);
            return;
        }
    } else {
        interpreter = find_interpreter(own);
    }
    bool mute = interpreter || is_hidden(process);
    if (mute && is_service(process->unit)) {
        buf_text(name, process->unit);
    } else if (mute && process->container) {
        buf_format(name, "%.*s", CONTAINER_MAX, process->container);
    } else {
        buf_add(name, own.text, own.length);
    }
}
