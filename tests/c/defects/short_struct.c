/* struct_size is smaller than 1.0 has it. */
#define SHORT
#include "../null_function.c"
