/* SPDX-License-Identifier: MIT */
/* vram-sim: holds memory of a simulated GPU, and looks at and changes the machine it belongs to. */
#include "common/json.h"
#include "common/size.h"
#include "sim/command.h"
#include "sim/hold.h"
#include "sim/locate.h"

#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *driver;

int usage_error(const struct command *command, const char *format, ...)
{
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    (void)fprintf(stderr, "vram-sim: %s\nTry 'vram-sim %s%s--help'.\n", text,
                  command ? command->name : "", command ? " " : "");
    return EXIT_USAGE;
}

/* ---- Which machine ----------------------------------------------------------------------------- */

/* Without the generation in front of it, "r470/rtx4090": the state is the same for all of them. */
static const char *skip_generation(const char *spec)
{
    size_t length = spec[0] == 'r' ? 1 + strspn(spec + 1, "0123456789_") : 0;
    return length > 1 && spec[length] == '/' ? spec + length + 1 : spec;
}

/* The words that --driver or the environment choose the machine with; NULL where --driver is none of ours. */
static const char *chosen_spec(void)
{
    const char *from_driver = driver ? driver : getenv("VRAM_DRIVER"), *plain = getenv("VRAM_SIM");
    if (from_driver && strncmp(from_driver, "sim:", 4) == 0) {
        return skip_generation(from_driver + 4);
    }
    if (driver) {
        return NULL;
    }
    return plain && plain[0] ? skip_generation(plain) : LOCATE_DEFAULT;
}

static int open_sim(struct sim *sim)
{
    struct complaint complaint;
    const char *spec = chosen_spec();
    if (!spec) {
        (void)fprintf(stderr, "vram-sim: '%s' is not a simulated driver; write sim:NAME\n", driver);
        return -EINVAL;
    }
    int r = sim_open(sim, spec, &complaint);
    if (r < 0) {
        (void)fprintf(stderr, "vram-sim: %s\n", complaint.text);
    }
    return r;
}

/* ---- Options ----------------------------------------------------------------------------------- */

static const struct option long_options[] = {
    {"driver", required_argument, NULL, OPTION_DRIVER},
    {"help", no_argument, NULL, 'h'},
    {"gpu", required_argument, NULL, OPTION_GPU},
    {"ramp", required_argument, NULL, OPTION_RAMP},
    {"for", required_argument, NULL, OPTION_FOR},
    {"type", required_argument, NULL, OPTION_TYPE},
    {"name", required_argument, NULL, OPTION_NAME},
    {"json", no_argument, NULL, OPTION_JSON},
    {"every", required_argument, NULL, OPTION_EVERY},
    {"readings", required_argument, NULL, OPTION_READINGS},
    {"timeout", required_argument, NULL, OPTION_TIMEOUT},
    {"names", no_argument, NULL, OPTION_NAMES},
    {"ids", no_argument, NULL, OPTION_IDS},
    {"answers", no_argument, NULL, OPTION_ANSWERS},
    {"force", no_argument, NULL, OPTION_FORCE},
    {"wake", no_argument, NULL, OPTION_WAKE},
    {NULL, 0, NULL, 0},
};

static void print_help(const struct command *command)
{
    (void)printf("Usage: vram-sim %s %s[--driver sim:NAME]\n\n%s", command->name,
                 command->arguments, command->help);
}

int next_option(const struct command *command, int argc, char **argv, const int *allowed)
{
    int option;
    while ((option = getopt_long(argc, argv, ":h", long_options, NULL)) == OPTION_DRIVER) {
        driver = optarg;
    }
    if (option == -1) {
        return -1;
    }
    if (option == 'h') {
        print_help(command);
        return 0;
    }
    for (; allowed && *allowed; allowed++) {
        if (*allowed == option) {
            return option;
        }
    }
    (void)usage_error(command, option == ':' ? "%s needs a value" : "there is no option %s",
                      argv[optind - 1]);
    return '?';
}

/* For commands without options of their own. False: done, with *ret_status. */
static bool no_options(const struct command *command, int argc, char **argv, int *ret_status)
{
    int option = next_option(command, argc, argv, NULL);
    *ret_status = option == '?' ? EXIT_USAGE : EXIT_DONE;
    return option == -1;
}

/* ---- hold -------------------------------------------------------------------------------------- */

static int hold_option(const struct command *command, int option, struct hold_options *options)
{
    static const char *const types[] = {"C", "G", NULL};
    struct complaint complaint = {""};
    uint64_t type = 0;
    int r = 0;
    switch (option) {
    case OPTION_GPU:
        options->gpu = optarg;
        break;
    case OPTION_NAME:
        options->name = optarg;
        break;
    case OPTION_TYPE:
        r = value_choice("--type", optarg, types, &type, &complaint);
        options->kinds = type ? KIND_GRAPHICS : KIND_COMPUTE;
        break;
    case OPTION_RAMP:
        r = value_time("--ramp", optarg, &options->ramp, &complaint);
        break;
    default:
        r = value_time("--for", optarg, &options->duration, &complaint);
        break;
    }
    return r < 0 ? usage_error(command, "%s", complaint.text) : 0;
}

static int read_size(const struct command *command, const char *text, uint64_t *ret_size)
{
    bool bare;
    if (size_parse(text, ret_size, &bare) < 0) {
        return usage_error(command, "'%.40s' is not a size; write it as 14336, 14G or 512M", text);
    }
    if (bare && *ret_size < 256 * MIB) {
        (void)fprintf(stderr, "vram-sim: %s is read as %s MiB; write %sG for GiB\n", text, text,
                      text);
    }
    return 0;
}

static int run_hold(const struct command *command, int argc, char **argv)
{
    static const int allowed[] = {OPTION_GPU, OPTION_RAMP, OPTION_FOR, OPTION_TYPE, OPTION_NAME, 0};
    struct hold_options options = {.duration = WORLD_NEVER, .kinds = KIND_COMPUTE};
    struct sim sim;
    int option;
    while ((option = next_option(command, argc, argv, allowed)) > 0) {
        if (option == '?' || hold_option(command, option, &options)) {
            return EXIT_USAGE;
        }
    }
    if (option == 0) {
        return EXIT_DONE;
    }
    if (argc - optind != 1) {
        return usage_error(command, argc == optind ? "how much?" : "only one size can be held");
    }
    if (read_size(command, argv[optind], &options.size)) {
        return EXIT_USAGE;
    }
    if (open_sim(&sim) < 0) {
        return EXIT_FAILED;
    }
    int status = hold(&sim, &options);
    sim_close(&sim);
    return status;
}

/* ---- stats ------------------------------------------------------------------------------------- */

static const char *kind_text(uint32_t kinds)
{
    return kinds & KIND_GRAPHICS ? kinds & KIND_COMPUTE ? "CG" : "G" : "C";
}

static bool read_living(struct sim *sim, size_t slot, struct holder *ret_holder)
{
    uint64_t now = sim->now->now;
    return holder_read(&sim->file, slot, now, now, sim->now->lag, ret_holder) && ret_holder->listed;
}

static void stats_as_json(struct sim *sim)
{
    struct state *state = sim->file.state;
    struct buf buf = BUF_INIT;
    struct json json = JSON_INIT(&buf);
    json_object(&json, NULL);
    json_number(&json, "schema", 1);
    json_text(&json, "instance", sim->instance);
    json_number(&json, "now_ns", sim->now->now);
    json_number(&json, "wakes", atomic_load(&state->wakes));
    json_number(&json, "out_of_memory", atomic_load(&state->out_of_memory));
    json_object(&json, "calls");
    for (unsigned i = 0; i < FUNCTION_COUNT; i++) {
        if (atomic_load(&state->calls[i])) {
            json_number(&json, function_name((enum function)i), atomic_load(&state->calls[i]));
        }
    }
    json_end_object(&json);
    json_array(&json, "holders");
    for (size_t i = 0; i < holders_room(state); i++) {
        struct holder holder;
        if (read_living(sim, i, &holder)) {
            json_object(&json, NULL);
            json_number(&json, "pid", holder.seen_pid ? holder.seen_pid : holder.own_pid);
            json_number(&json, "gpu", holder.gpu);
            json_text(&json, "kind", kind_text(holder.kinds));
            json_text(&json, "name", holder.name);
            json_number(&json, "used_bytes", holder.used);
            json_end_object(&json);
        }
    }
    json_end_array(&json);
    json_end_object(&json);
    (void)printf("%s\n", buf.failed ? "{}" : buf.data);
    buf_done(&buf);
}

static void stats_as_text(struct sim *sim)
{
    struct state *state = sim->file.state;
    (void)printf("instance       %s\nclock          %.3f s%s\nwakes          %" PRIu64
                 "\nout of memory  %" PRIu64 "\n",
                 sim->instance, (double)sim->now->now / 1e9,
                 atomic_load(&state->virtual_clock) ? ", virtual" : "", atomic_load(&state->wakes),
                 atomic_load(&state->out_of_memory));
    for (unsigned i = 0; i < FUNCTION_COUNT; i++) {
        if (atomic_load(&state->calls[i])) {
            (void)printf("calls          %8u  %s\n", atomic_load(&state->calls[i]),
                         function_name((enum function)i));
        }
    }
    for (size_t i = 0; i < holders_room(state); i++) {
        struct holder holder;
        if (read_living(sim, i, &holder)) {
            (void)printf("holder         %8u  GPU %u  %s  %8" PRIu64 " MiB  %s\n",
                         holder.seen_pid ? holder.seen_pid : holder.own_pid, holder.gpu,
                         kind_text(holder.kinds), holder.used / MIB, holder.name);
        }
    }
}

static int run_stats(const struct command *command, int argc, char **argv)
{
    static const int allowed[] = {OPTION_JSON, 0};
    struct sim sim;
    bool as_json = false;
    int option;
    while ((option = next_option(command, argc, argv, allowed)) > 0) {
        if (option == '?') {
            return EXIT_USAGE;
        }
        as_json = true;
    }
    if (option == 0) {
        return EXIT_DONE;
    }
    if (optind < argc) {
        return usage_error(command, "what is '%.40s'?", argv[optind]);
    }
    if (open_sim(&sim) < 0) {
        return EXIT_FAILED;
    }
    (as_json ? stats_as_json : stats_as_text)(&sim);
    sim_close(&sim);
    return EXIT_DONE;
}

/* ---- advance, inject, release, reset ----------------------------------------------------------- */

static int run_advance(const struct command *command, int argc, char **argv)
{
    struct complaint complaint;
    struct sim sim;
    uint64_t time;
    int status;
    if (!no_options(command, argc, argv, &status)) {
        return status;
    }
    if (argc - optind != 1 || value_time("advance", argv[optind], &time, &complaint) < 0) {
        return usage_error(command, "%s", argc - optind == 1 ? complaint.text : "by how much?");
    }
    if (open_sim(&sim) < 0) {
        return EXIT_FAILED;
    }
    bool is_virtual = atomic_load(&sim.file.state->virtual_clock);
    if (is_virtual) {
        atomic_fetch_add(&sim.file.state->virtual_now, time);
    } else {
        (void)fprintf(
            stderr,
            "vram-sim: this machine's clock is the real one; only one with 'clock virtual' in "
            "its scenario can be advanced\n");
    }
    sim_close(&sim);
    return is_virtual ? EXIT_DONE : EXIT_FAILED;
}

static int inject_line(const char *line)
{
    struct complaint complaint;
    struct sim sim;
    if (open_sim(&sim) < 0) {
        return EXIT_FAILED;
    }
    int r = sim_inject(&sim, line, &complaint);
    if (r < 0) {
        (void)fprintf(stderr, "vram-sim: %s\n", complaint.text);
    }
    sim_close(&sim);
    return r < 0 ? EXIT_FAILED : EXIT_DONE;
}

static int run_inject(const struct command *command, int argc, char **argv)
{
    struct buf line = BUF_INIT;
    int status;
    if (!no_options(command, argc, argv, &status)) {
        return status;
    }
    for (int i = optind; i < argc; i++) {
        buf_text(&line, i > optind ? " " : "");
        buf_text(&line, argv[i]);
    }
    if (optind == argc || line.failed) {
        status = optind == argc ? usage_error(command, "which line?") : EXIT_FAILED;
    } else {
        status = inject_line(line.data);
    }
    buf_done(&line);
    return status;
}

static int run_release(const struct command *command, int argc, char **argv)
{
    int status;
    if (!no_options(command, argc, argv, &status)) {
        return status;
    }
    return optind < argc ? usage_error(command, "what is '%.40s'?", argv[optind])
                         : inject_line("release");
}

/* With the scenario's file as it is now. */
static int reset(struct sim *sim)
{
    struct complaint complaint;
    struct location location;
    struct scenario scenario;
    int r = locate(chosen_spec(), &location, &complaint);
    if (r == 0) {
        r = scenario_parse(location.text, location.length, location.title, &scenario, &complaint);
        if (r == 0) {
            state_lock(&sim->file);
            state_reset(sim->file.state, location.text, location.length, scenario.virtual_clock);
            state_unlock(&sim->file);
            scenario_done(&scenario);
        }
        location_done(&location);
    }
    if (r < 0) {
        (void)fprintf(stderr, "vram-sim: %s\n", complaint.text);
    }
    return r;
}

static int run_reset(const struct command *command, int argc, char **argv)
{
    struct sim sim;
    int status;
    if (!no_options(command, argc, argv, &status)) {
        return status;
    }
    if (optind < argc) {
        return usage_error(command, "what is '%.40s'?", argv[optind]);
    }
    if (open_sim(&sim) < 0) {
        return EXIT_FAILED;
    }
    status = reset(&sim) < 0 ? EXIT_FAILED : EXIT_DONE;
    sim_close(&sim);
    return status;
}

/* ---- list -------------------------------------------------------------------------------------- */

/* A profile's first line is a comment that says what machine it is. */
static void print_profile(const char *directory, const char *file)
{
    char path[1024], line[200] = "";
    (void)snprintf(path, sizeof(path), "%s/%s", directory, file);
    FILE *scenario = fopen(path, "re");
    if (scenario) {
        bool said = fgets(line, sizeof(line), scenario) && line[0] == '#';
        line[said ? strcspn(line, "\n") : 0] = '\0';
        (void)fclose(scenario);
    }
    (void)printf("%-10.*s %s\n", (int)(strlen(file) - strlen(".scenario")), file,
                 line[0] ? line + 2 : "");
}

static int is_scenario(const struct dirent *entry)
{
    const char *dot = strrchr(entry->d_name, '.');
    return dot && dot != entry->d_name && strcmp(dot, ".scenario") == 0;
}

static int not_installed(void)
{
    (void)fprintf(stderr,
                  "vram-sim: no profiles are installed; VRAM_SIM_DIR can name where they are\n");
    return EXIT_FAILED;
}

static int run_list(const struct command *command, int argc, char **argv)
{
    char directory[512];
    struct dirent **entries;
    int status;
    if (!no_options(command, argc, argv, &status)) {
        return status;
    }
    int count =
        scandir(locate_profiles(directory, sizeof(directory)), &entries, is_scenario, alphasort);
    if (count < 0) {
        return not_installed();
    }
    for (int i = 0; i < count; i++) {
        print_profile(directory, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    return EXIT_DONE;
}

/* ---- path -------------------------------------------------------------------------------------- */

static int run_path(const struct command *command, int argc, char **argv)
{
    char directory[512], library[800];
    int status;
    if (!no_options(command, argc, argv, &status)) {
        return status;
    }
    const char *generation = argc > optind ? argv[optind] : "";
    if (argc > optind + 1 || strchr(generation, '/') || generation[0] == '.') {
        return usage_error(command, "one generation is wanted, such as r550");
    }
    if (!locate_profiles(directory, sizeof(directory))[0]) {
        return not_installed();
    }
    *strrchr(directory, '/') = '\0';
    (void)snprintf(library, sizeof(library), "%s/%s/libnvidia-ml.so.1", directory, generation);
    if (generation[0] && access(library, R_OK) != 0) {
        (void)fprintf(stderr, "vram-sim: no generation '%.40s' in %s\n", generation, directory);
        return EXIT_FAILED;
    }
    (void)printf("%s%s%s\n", directory, generation[0] ? "/" : "", generation);
    return EXIT_DONE;
}

/* ---- Commands ---------------------------------------------------------------------------------- */

static const struct command commands[] = {
    {"hold", "SIZE [--gpu GPU] [--ramp T] [--for T] [--type C|G] [--name TEXT] ",
     "be a process that holds memory of a simulated GPU",
     "Holds SIZE (14336 and 14G are the same) of a simulated GPU until it is killed.\n\n"
     "  --gpu GPU    number among what CUDA_VISIBLE_DEVICES shows, or (the beginning of) a UUID\n"
     "  --ramp T     takes the memory little by little, over this time\n"
     "  --for T      ends after this time\n"
     "  --type C|G   what kind of process it is: compute (as it is without this) or graphics\n"
     "  --name TEXT  how the process is called\n\n"
     "Says \"holding … MiB on GPU …\" when it has it all. Where there is not enough it says so, is "
     "counted\n"
     "as out of memory, and ends with status 1.\n",
     run_hold},
    {"stats", "[--json] ", "what was called, who holds memory",
     "Prints how often each function was called, how often a sleeping GPU was woken, how often "
     "memory\n"
     "ran out, and who holds memory now. Name an instance (sim:rtx4090@NAME): others are "
     "forgotten\n"
     "with their last user.\n",
     run_stats},
    {"advance", "T ", "move a virtual clock",
     "Moves the clock of a machine that has 'clock virtual' on by T.\n", run_advance},
    {"inject", "LINE… ", "make something happen",
     "Runs a line of the scenario language on the machine while it is in use, such as\n"
     "'gpu 0 lost', 'fail nvmlDeviceGetMemoryInfo ret=999 times=1' or 'at +2s exit 4194402'.\n",
     run_inject},
    {"release", "", "let hanging calls go",
     "Ends every hang that a scenario or an injected line made.\n", run_release},
    {"reset", "", "begin anew",
     "Begins the machine anew, under all who use it, with its scenario as it is now: clock, "
     "counters and\n"
     "injected lines. Processes that hold memory go on holding it.\n",
     run_reset},
    {"list", "", "which machines can be simulated",
     "Lists the profiles, which --driver sim:NAME plays.\n", run_list},
    {"path", "[GENERATION] ", "where the libraries are",
     "Prints the directory of the driver generations, or of one (r550): the LD_LIBRARY_PATH of "
     "programs\nthat load NVML themselves.\n",
     run_path},
    {"record", RECORD_ARGUMENTS, "write what a driver answers as a scenario", RECORD_HELP,
     run_record},
};

static void print_overview(void)
{
    (void)printf("Usage: vram-sim COMMAND [--driver sim:NAME[@INSTANCE]]\n\n"
                 "Drives the simulated NVIDIA driver. The machine is that of --driver, VRAM_DRIVER "
                 "or VRAM_SIM,\n"
                 "else sim:" LOCATE_DEFAULT ".\n\n");
    for (size_t i = 0; i < ARRAY_LENGTH(commands); i++) {
        (void)printf("  %-9s %s\n", commands[i].name, commands[i].summary);
    }
    (void)printf("\n'vram-sim COMMAND --help' tells more.\n");
}

int main(int argc, char **argv)
{
    /* Options before the command: --driver and --help alone. */
    int option;
    while ((option = getopt_long(argc, argv, "+:h", long_options, NULL)) != -1) {
        if (option == 'h') {
            print_overview();
            return EXIT_DONE;
        }
        if (option != OPTION_DRIVER) {
            return usage_error(NULL, "%s: not an option here", argv[optind - 1]);
        }
        driver = optarg;
    }
    const char *name = optind < argc ? argv[optind] : NULL;
    for (size_t i = 0; name && i < ARRAY_LENGTH(commands); i++) {
        if (strcmp(commands[i].name, name) == 0) {
            int skipped = optind;
            optind = 0; /* getopt begins anew, behind the command's name */
            return commands[i].run(&commands[i], argc - skipped, argv + skipped);
        }
    }
    return usage_error(NULL, name ? "there is no command '%.40s'" : "which command?%s",
                       name ? name : "");
}
