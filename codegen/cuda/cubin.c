// cubin.c: what a cubin's machine code consists of, without a disassembler. A cubin is an ELF
// file with one section ".text.NAME" for each function; since sm_70 an instruction has 16 bytes
// and its kind is in the lowest 12 bits. (The numbers were found by compiling known kernels.)
#include <elf.h>
#include <string.h>

#include "codegen/cuda/cuda.h"

enum { INSTRUCTION_BYTES = 16, OPCODE_MASK = 0xfff };
enum {
    OPCODE_HGMMA = 0x9f0,
    OPCODE_UTMALDG = 0x5b4,
    OPCODE_UTMALDG_MULTICAST = 0x3b4,
    OPCODE_HMMA = 0x23c
};

static bool range_fits(Str file, uint64_t at, uint64_t bytes) {
    return at <= file.len && bytes <= file.len - at;
}

static bool damaged(Diag *diag, const char *what) {
    return diag_fail(diag, FAIL_INPUT, "damaged cubin: %s", what);
}

static void count_instructions(const char *code, uint64_t bytes, CubinCounts *out) {
    for (uint64_t at = 0; at + INSTRUCTION_BYTES <= bytes; at += INSTRUCTION_BYTES) {
        uint16_t low;
        memcpy(&low, code + at, sizeof low);
        unsigned opcode = low & OPCODE_MASK;
        out->instructions++;
        out->wgmma += opcode == OPCODE_HGMMA;
        out->tensor_copies += opcode == OPCODE_UTMALDG || opcode == OPCODE_UTMALDG_MULTICAST;
        out->mma += opcode == OPCODE_HMMA;
    }
}

// ensures: the table of sections and the names lie in the file
static bool read_header(Diag *diag, Str file, Elf64_Ehdr *header, Elf64_Shdr *names) {
    if (file.len < sizeof *header) return damaged(diag, "it is cut short");
    memcpy(header, file.ptr, sizeof *header);
    if (memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 ||
        header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_shentsize != sizeof *names)
        return damaged(diag, "it is not an ELF file");
    uint64_t table = (uint64_t)header->e_shnum * sizeof *names;
    if (!range_fits(file, header->e_shoff, table) || header->e_shstrndx >= header->e_shnum)
        return damaged(diag, "its sections reach past its end");
    memcpy(names, file.ptr + header->e_shoff + header->e_shstrndx * sizeof *names,
           sizeof *names);
    return range_fits(file, names->sh_offset, names->sh_size) ||
           damaged(diag, "its names reach past its end");
}

bool cubin_count(Diag *diag, Str cubin, CubinCounts *out) {
    static const char prefix[] = ".text.";
    *out = (CubinCounts){0};
    Elf64_Ehdr header;
    Elf64_Shdr names, section;
    if (!read_header(diag, cubin, &header, &names)) return false;
    for (uint32_t i = 0; i < header.e_shnum; i++) {
        memcpy(&section, cubin.ptr + header.e_shoff + i * sizeof section, sizeof section);
        bool named =
            names.sh_size >= sizeof prefix && section.sh_name <= names.sh_size - sizeof prefix;
        if (section.sh_type != SHT_PROGBITS || !named) continue;
        if (memcmp(cubin.ptr + names.sh_offset + section.sh_name, prefix, sizeof prefix - 1) !=
            0)
            continue;
        if (!range_fits(cubin, section.sh_offset, section.sh_size))
            return damaged(diag, "its code reaches past its end");
        count_instructions(cubin.ptr + section.sh_offset, section.sh_size, out);
    }
    return true;
}
