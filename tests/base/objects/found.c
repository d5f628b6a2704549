// found.c: a library that test_library.c looks for; version 1 is too old to multiply.
int found_version(void);
int found_product(int x, int y);

int found_version(void) { return VERSION; }
#if VERSION > 1
int found_product(int x, int y) { return x * y; }
#endif
