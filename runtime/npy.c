// npy.c: a header of text, padded to a multiple of 64 bytes, then the elements.
#include "runtime/npy.h"

#include <string.h>

#include "base/io.h"

enum { ALIGN = 64, FIXED = 10 };  // magic, version, length of the text

static void add_header(StrBuf *out, uint32_t rows, uint32_t columns) {
    StrBuf text = {0};
    strbuf_addf(&text, "{'descr': '<f8', 'fortran_order': False, 'shape': (%u, %u), }", rows,
                columns);
    while ((FIXED + text.len + 1) % ALIGN)
        strbuf_addc(&text, ' ');
    strbuf_addc(&text, '\n');
    strbuf_add(out, (Str){"\x93NUMPY\x01\x00", 8});
    strbuf_addc(out, (char)(text.len & 0xff));
    strbuf_addc(out, (char)(text.len >> 8));
    strbuf_add(out, strbuf_view(&text));
    strbuf_release(&text);
}

bool npy_write(Diag *diag, Str path, const double *x, uint32_t rows, uint32_t columns) {
    StrBuf out = {0};
    add_header(&out, rows, columns);
    for (size_t i = 0; i < (size_t)rows * columns; i++) {
        char bytes[sizeof *x];
        memcpy(bytes, &x[i], sizeof bytes);
        strbuf_add(&out, (Str){bytes, sizeof bytes});
    }
    bool good = io_write(diag, path, out.ptr, out.len);
    strbuf_release(&out);
    return good;
}
