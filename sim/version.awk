# SPDX-License-Identifier: MIT
# Writes the linker's version script of one generation (-v generation=550054) from functions.def.
BEGIN {
    FS = "[(), ]+"
    print "{\nglobal:\n    vram_sim_select;\n    vram_sim_error;"
}
/^FUNCTION/ && $3 <= generation && !($1 == "FUNCTION_WITH_HOLE" && int(generation) == 535098) {
    print "    " $2 ";"
}
END {
    print "local:\n    *;\n};"
}
