// Libraries that are opened while we run, for which each codec declares what it calls.

#pragma once

#include <stdbool.h>

/** The library of this name, for `dlclose`; NULL where the host has none. */
void *library_open(const char *file);

/** Puts the function of this name into the function pointer at `pointer`; false where there is none. */
bool library_find(void *library, const char *name, void *pointer);

/** Fills the member of `self` that is called as the function is. */
#define LIBRARY_FIND(self, function) library_find((self)->handle, #function, &(self)->function)
