/* Takes the locale of the environment. */
#include <locale.h>
#define ON_INITIALIZE setlocale(LC_ALL, "C.UTF-8");
#include "module.h"
