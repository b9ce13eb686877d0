/* SPDX-License-Identifier: MIT */
#include "top/terminal.h"

#include <curses.h>
#include <term.h>
#include <unistd.h>

bool terminal_is_known(void)
{
    int error;
    if (setupterm(NULL, STDOUT_FILENO, &error) != OK) {
        return false;
    }
    (void)del_curterm(cur_term);
    return true;
}
