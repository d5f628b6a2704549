// object.c: a small linker for one relocatable x86-64 ELF object. The allocated sections are
// laid out one after another in one mapping, then the slots of a global offset table, and, if
// the object is to be published (object_file.h), its sections for debuggers:
//
//     | .text | .rodata | .eh_frame | ... | slot | slot | .debug_line | .debug_info | ... |
//
// Every offset and length in the object is checked before use; headers are copied out because
// the object may lie at any alignment.
#include "runtime/object.h"

#include <elf.h>
#include <string.h>
#include <sys/mman.h>

#include "base/check.h"
#include "runtime/object_file.h"

enum {
    PAGE = 4096,
    SLOT = 8,
    IMAGE_MAX = 1 << 30,
};

typedef struct {
    Diag *diag;
    Str name, object;
    Elf64_Ehdr header;
    Elf64_Shdr *sections;              // header.e_shnum
    uint64_t *place;                   // of each allocated section in the image
    uint64_t code_bytes, image_bytes;  // without and with sections for debuggers
    uint64_t slot_count, slots_used;
    unsigned char *image;
    bool wants_low;  // absolute 32-bit addresses occur
    ObjectEntry entry;
    const char *folder;  // where the object is published; NULL: nowhere
} Loader;

// One relocation, with everything looked up.
typedef struct {
    uint32_t type;
    uint64_t place;   // in the image
    uint64_t symbol;  // address
    uint64_t addend;
} Fixup;

static bool damaged(const Loader *l, const char *what) {
    return diag_fail(l->diag, FAIL_INPUT, "kernel '%.*s': bad object code: %s",
                     STR_ARG(l->name), what);
}

static bool in_object(const Loader *l, uint64_t offset, uint64_t bytes) {
    return offset <= l->object.len && bytes <= l->object.len - offset;
}

static bool is_allocated(const Elf64_Shdr *s) {
    return s->sh_type != SHT_NULL && s->sh_flags & SHF_ALLOC && s->sh_size;
}

// A string of a table of strings; empty if it is out of range or has no end.
static Str string_at(const Loader *l, uint32_t table, uint32_t offset) {
    if (table >= l->header.e_shnum) return (Str){0};
    const Elf64_Shdr *strings = &l->sections[table];
    if (strings->sh_type != SHT_STRTAB || offset >= strings->sh_size ||
        !in_object(l, strings->sh_offset, strings->sh_size))
        return (Str){0};
    const char *text = l->object.ptr + strings->sh_offset + offset;
    const char *end = memchr(text, 0, strings->sh_size - offset);
    return end ? (Str){text, (size_t)(end - text)} : (Str){0};
}

static Str section_name(const Loader *l, const Elf64_Shdr *s) {
    return string_at(l, l->header.e_shstrndx, s->sh_name);
}

// A section for debuggers that goes into the image.
static bool is_debug(const Loader *l, const Elf64_Shdr *s) {
    return l->folder && s->sh_type == SHT_PROGBITS && s->sh_size &&
           !(s->sh_flags & (SHF_ALLOC | SHF_COMPRESSED)) &&
           str_starts(section_name(l, s), STR(".debug_"));
}

static bool is_kept(const Loader *l, const Elf64_Shdr *s) {
    return is_allocated(s) || is_debug(l, s);
}

static bool read_headers(Loader *l, Arena *scratch) {
    Elf64_Ehdr *h = &l->header;
    if (l->object.len < sizeof *h) return damaged(l, "it is shorter than an ELF header");
    memcpy(h, l->object.ptr, sizeof *h);
    bool is_elf = memcmp(h->e_ident, ELFMAG, SELFMAG) == 0 &&
                  h->e_ident[EI_CLASS] == ELFCLASS64 && h->e_ident[EI_DATA] == ELFDATA2LSB;
    if (!is_elf || h->e_type != ET_REL) return damaged(l, "it is no relocatable ELF object");
#if defined(__x86_64__)
    if (h->e_machine != EM_X86_64) return damaged(l, "it is not for x86-64");
#else
    return diag_fail(l->diag, FAIL_ENVIRONMENT, "kernel '%.*s': this machine is no x86-64",
                     STR_ARG(l->name));
#endif
    if (h->e_shentsize != sizeof(Elf64_Shdr) || !h->e_shnum ||
        !in_object(l, h->e_shoff, (uint64_t)h->e_shnum * sizeof(Elf64_Shdr))) {
        return damaged(l, "its section table is out of range");
    }
    l->sections = arena_array(scratch, Elf64_Shdr, h->e_shnum);
    memcpy(l->sections, l->object.ptr + h->e_shoff, h->e_shnum * sizeof(Elf64_Shdr));
    l->place = arena_array(scratch, uint64_t, h->e_shnum);
    return true;
}

static bool check_section(const Loader *l, const Elf64_Shdr *s) {
    if (s->sh_type == SHT_NULL) return true;
    if (s->sh_type != SHT_NOBITS && !in_object(l, s->sh_offset, s->sh_size))
        return damaged(l, "a section reaches past the end");
    if (!is_kept(l, s)) return true;
    if (s->sh_size > IMAGE_MAX) return damaged(l, "a section is too large");
    if (s->sh_flags & (SHF_WRITE | SHF_TLS)) return damaged(l, "it has writable data");
    if (s->sh_addralign & (s->sh_addralign - 1) || s->sh_addralign > PAGE)
        return damaged(l, "a section has an unusable alignment");
    return true;
}

static uint64_t whole_pages(uint64_t bytes) {
    return (bytes + PAGE - 1) & ~(uint64_t)(PAGE - 1);
}

// Either the allocated sections from `end` on, or those for debuggers.
static bool lay_out_kind(Loader *l, bool allocated, uint64_t *end) {
    for (uint32_t i = 0; i < l->header.e_shnum; i++) {
        const Elf64_Shdr *s = &l->sections[i];
        if (!is_kept(l, s) || is_allocated(s) != allocated) continue;
        uint64_t align = s->sh_addralign ? s->sh_addralign : 1;
        l->place[i] = (*end + align - 1) & ~(align - 1);
        *end = l->place[i] + s->sh_size;
        if (*end > IMAGE_MAX) return damaged(l, "it is too large");
    }
    return true;
}

static bool check_sections(const Loader *l) {
    for (uint32_t i = 0; i < l->header.e_shnum; i++)
        if (!check_section(l, &l->sections[i])) return false;
    return true;
}

// requires: every section lies inside the object, the slots are counted
// ensures: places, code_bytes and image_bytes are set
static bool lay_out(Loader *l) {
    uint64_t end = 0;
    if (!lay_out_kind(l, true, &end)) return false;
    l->code_bytes =
        whole_pages(((end + SLOT - 1) & ~(uint64_t)(SLOT - 1)) + l->slot_count * SLOT);
    if (!l->code_bytes) return damaged(l, "it has no code");
    end = l->code_bytes;
    if (!lay_out_kind(l, false, &end)) return false;
    l->image_bytes = whole_pages(end);
    return true;
}

static bool needs_slot(uint32_t type) {
    return type == R_X86_64_GOTPCREL || type == R_X86_64_GOTPCRELX ||
           type == R_X86_64_REX_GOTPCRELX;
}

static Elf64_Rela relocation_at(const Loader *l, const Elf64_Shdr *table, uint64_t i) {
    Elf64_Rela r;
    memcpy(&r, l->object.ptr + table->sh_offset + i * sizeof r, sizeof r);
    return r;
}

static Elf64_Sym symbol_at(const Loader *l, const Elf64_Shdr *table, uint64_t i) {
    Elf64_Sym s;
    memcpy(&s, l->object.ptr + table->sh_offset + i * sizeof s, sizeof s);
    return s;
}

static bool check_relocation_table(const Loader *l, const Elf64_Shdr *table) {
    if (table->sh_type == SHT_REL) return damaged(l, "it has relocations without addends");
    if (table->sh_entsize != sizeof(Elf64_Rela) || table->sh_size % sizeof(Elf64_Rela))
        return damaged(l, "a relocation table has odd entries");
    if (table->sh_link >= l->header.e_shnum ||
        l->sections[table->sh_link].sh_type != SHT_SYMTAB)
        return damaged(l, "a relocation table names no symbol table");
    return true;
}

// A table of relocations for a section of the image?
static bool relocates(const Loader *l, const Elf64_Shdr *table) {
    return (table->sh_type == SHT_RELA || table->sh_type == SHT_REL) &&
           table->sh_info < l->header.e_shnum && is_kept(l, &l->sections[table->sh_info]);
}

// What the image needs beside the sections is known before it is mapped.
static bool survey_relocations(Loader *l) {
    for (uint32_t i = 0; i < l->header.e_shnum; i++) {
        const Elf64_Shdr *table = &l->sections[i];
        if (!relocates(l, table)) continue;
        if (!check_relocation_table(l, table)) return false;
        bool code = is_allocated(&l->sections[table->sh_info]);
        for (uint64_t k = 0; k < table->sh_size / sizeof(Elf64_Rela); k++) {
            uint32_t type = ELF64_R_TYPE(relocation_at(l, table, k).r_info);
            l->slot_count += needs_slot(type);
            l->wants_low |= code && (type == R_X86_64_32 || type == R_X86_64_32S);
        }
    }
    return true;
}

static bool map_image(Loader *l) {
    int flags = MAP_PRIVATE | MAP_ANONYMOUS;
#ifdef MAP_32BIT
    if (l->wants_low) flags |= MAP_32BIT;
#endif
    void *image = mmap(NULL, l->image_bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (image == MAP_FAILED) {
        return diag_fail(l->diag, FAIL_ENVIRONMENT,
                         "kernel '%.*s': cannot map %llu bytes for code", STR_ARG(l->name),
                         (unsigned long long)l->image_bytes);
    }
    l->image = image;
    return true;
}

static void copy_sections(Loader *l) {
    for (uint32_t i = 0; i < l->header.e_shnum; i++) {
        const Elf64_Shdr *s = &l->sections[i];
        if (!is_kept(l, s) || s->sh_type == SHT_NOBITS) continue;
        memcpy(l->image + l->place[i], l->object.ptr + s->sh_offset, s->sh_size);
    }
}

static Str symbol_name(const Loader *l, const Elf64_Shdr *table, Elf64_Sym symbol) {
    return string_at(l, table->sh_link, symbol.st_name);
}

static bool symbol_address(const Loader *l, const Elf64_Shdr *table, uint64_t index,
                           uint64_t *out) {
    if (index >= table->sh_size / sizeof(Elf64_Sym))
        return damaged(l, "a relocation names no symbol");
    Elf64_Sym symbol = symbol_at(l, table, index);
    if (symbol.st_shndx == SHN_ABS) {
        *out = symbol.st_value;
        return true;
    }
    if (symbol.st_shndx == SHN_UNDEF) {
        Str name = symbol_name(l, table, symbol);
        return diag_fail(l->diag, FAIL_INPUT,
                         "kernel '%.*s': bad object code: symbol '%.*s' is undefined",
                         STR_ARG(l->name), STR_ARG(name));
    }
    if (symbol.st_shndx >= l->header.e_shnum || !is_kept(l, &l->sections[symbol.st_shndx]) ||
        symbol.st_value > l->sections[symbol.st_shndx].sh_size) {
        return damaged(l, "a symbol lies outside the sections");
    }
    // Debuggers know sections of their own by offsets, not by addresses.
    if (is_debug(l, &l->sections[symbol.st_shndx])) {
        *out = symbol.st_value;
        return true;
    }
    *out = (uint64_t)(uintptr_t)l->image + l->place[symbol.st_shndx] + symbol.st_value;
    return true;
}

static bool fits_signed_32(uint64_t x) { return x + 0x80000000u <= 0xffffffffu; }

static bool apply(Loader *l, const Fixup *f) {
    uint64_t here = (uint64_t)(uintptr_t)l->image + f->place;
    uint64_t value = f->symbol + f->addend;
    bool fits = true, wide = false;
    switch (f->type) {
    case R_X86_64_64: wide = true; break;
    case R_X86_64_PC64:
        value -= here;
        wide = true;
        break;
    case R_X86_64_PC32:
    case R_X86_64_PLT32:
        value -= here;
        fits = fits_signed_32(value);
        break;
    case R_X86_64_32: fits = value <= 0xffffffffu; break;
    case R_X86_64_32S: fits = fits_signed_32(value); break;
    case R_X86_64_GOTPCREL:
    case R_X86_64_GOTPCRELX:
    case R_X86_64_REX_GOTPCRELX: {
        uint64_t slot = l->code_bytes - SLOT * ++l->slots_used;
        memcpy(l->image + slot, &f->symbol, SLOT);
        value = (uint64_t)(uintptr_t)l->image + slot + f->addend - here;
        fits = fits_signed_32(value);
        break;
    }
    default:
        return diag_fail(l->diag, FAIL_INPUT,
                         "kernel '%.*s': bad object code: unknown relocation type %u",
                         STR_ARG(l->name), f->type);
    }
    if (!fits) return damaged(l, "a relocation does not reach its symbol");
    memcpy(l->image + f->place, &value, wide ? 8 : 4);
    return true;
}

static bool is_wide(uint32_t type) { return type == R_X86_64_64 || type == R_X86_64_PC64; }

static bool relocate_section(Loader *l, const Elf64_Shdr *table) {
    const Elf64_Shdr *target = &l->sections[table->sh_info];
    const Elf64_Shdr *symbols = &l->sections[table->sh_link];
    if (target->sh_type == SHT_NOBITS) return damaged(l, "a relocation is for empty space");
    for (uint64_t k = 0; k < table->sh_size / sizeof(Elf64_Rela); k++) {
        Elf64_Rela r = relocation_at(l, table, k);
        Fixup f = {.type = ELF64_R_TYPE(r.r_info),
                   .place = l->place[table->sh_info] + r.r_offset,
                   .addend = (uint64_t)r.r_addend};
        uint64_t width = is_wide(f.type) ? 8 : 4;
        if (f.type == R_X86_64_NONE) continue;
        if (r.r_offset > target->sh_size || width > target->sh_size - r.r_offset)
            return damaged(l, "a relocation is outside its section");
        if (!symbol_address(l, symbols, ELF64_R_SYM(r.r_info), &f.symbol)) return false;
        if (!apply(l, &f)) return false;
    }
    return true;
}

static bool relocate(Loader *l) {
    for (uint32_t i = 0; i < l->header.e_shnum; i++) {
        if (relocates(l, &l->sections[i]) && !relocate_section(l, &l->sections[i]))
            return false;
    }
    return true;
}

static bool is_entry(const Loader *l, const Elf64_Shdr *table, Elf64_Sym symbol) {
    if (symbol.st_shndx == SHN_UNDEF || symbol.st_shndx >= l->header.e_shnum) return false;
    if (ELF64_ST_TYPE(symbol.st_info) != STT_FUNC) return false;
    const Elf64_Shdr *s = &l->sections[symbol.st_shndx];
    return is_allocated(s) && s->sh_flags & SHF_EXECINSTR && symbol.st_value < s->sh_size &&
           str_eq(symbol_name(l, table, symbol), STR("kernel"));
}

static bool find_entry(Loader *l, Object *out) {
    for (uint32_t i = 0; i < l->header.e_shnum; i++) {
        const Elf64_Shdr *table = &l->sections[i];
        if (table->sh_type != SHT_SYMTAB) continue;
        for (uint64_t k = 0; k < table->sh_size / sizeof(Elf64_Sym); k++) {
            Elf64_Sym symbol = symbol_at(l, table, k);
            if (!is_entry(l, table, symbol)) continue;
            uintptr_t address =
                (uintptr_t)l->image + l->place[symbol.st_shndx] + symbol.st_value;
            memcpy(&out->entry, &address, sizeof address);
            l->entry = (ObjectEntry){address, symbol.st_size};
            return true;
        }
    }
    return damaged(l, "it has no function 'kernel'");
}

static bool protect(const Loader *l) {
    if (mprotect(l->image, l->image_bytes, PROT_READ | PROT_EXEC) == 0) return true;
    return diag_fail(l->diag, FAIL_ENVIRONMENT,
                     "kernel '%.*s': the system does not let generated code run",
                     STR_ARG(l->name));
}

// Makes the image known to debuggers, if that is asked for.
static bool publish(const Loader *l, Arena *scratch, Object *out) {
    if (!l->folder) return true;
    ObjectImage image = {.name = l->name,
                         .folder = str_of(l->folder),
                         .base = l->image,
                         .bytes = l->image_bytes,
                         .entry = l->entry,
                         .sections = arena_array(scratch, ObjectSection, l->header.e_shnum)};
    for (uint32_t i = 0; i < l->header.e_shnum; i++) {
        const Elf64_Shdr *s = &l->sections[i];
        if (!is_kept(l, s)) continue;
        image.sections[image.count++] = (ObjectSection){.name = section_name(l, s),
                                                        .place = l->place[i],
                                                        .bytes = s->sh_size,
                                                        .flags = s->sh_flags};
    }
    return object_file_open(l->diag, &image, &out->file);
}

bool object_load(Diag *diag, Str name, Str object, Object *out) {
    *out = (Object){0};
    Arena scratch = {0};
    Loader l = {.diag = diag, .name = name, .object = object, .folder = object_file_folder()};
    bool ok = read_headers(&l, &scratch) && check_sections(&l) && survey_relocations(&l) &&
              lay_out(&l) && map_image(&l);
    if (ok) {
        copy_sections(&l);
        *out = (Object){.base = l.image, .bytes = l.image_bytes};
        ok = relocate(&l) && find_entry(&l, out) && protect(&l) && publish(&l, &scratch, out);
    }
    arena_release(&scratch);
    if (!ok) object_unload(out);
    return ok;
}

void object_unload(Object *object) {
    object_file_close(object->file);
    if (object->base) munmap(object->base, object->bytes);
    *object = (Object){0};
}
