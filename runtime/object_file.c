// object_file.c: the file of a published object. It is an executable in form, linked for the
// place where the code is, so that nothing has to be relocated by who reads it:
//
//     | header, program header, up to a page | image | symbols | names | section headers |
#include "runtime/object_file.h"

#include <elf.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"
#include "base/io.h"

enum { IMAGE_AT = 4096, SYMBOLS = 2 };

const char *object_file_folder(void) {
    const char *folder = getenv("STRATA_DEBUG");
    return folder && *folder ? folder : NULL;
}

// ---- gdb

// The names and the layout are gdb's ("JIT Compilation Interface"): it sets a breakpoint on the
// function and reads the descriptor, which therefore has to be a global variable.
typedef struct JitEntry JitEntry;
struct JitEntry {
    JitEntry *next, *previous;
    const void *file;
    uint64_t bytes;
};

typedef enum { JIT_NOACTION, JIT_REGISTER, JIT_UNREGISTER } JitAction;

typedef struct {
    uint32_t version, action;
    JitEntry *relevant, *first;
} JitDescriptor;

extern JitDescriptor __jit_debug_descriptor;
JitDescriptor __jit_debug_descriptor = {.version = 1};
void __jit_debug_register_code(void);
__attribute__((noinline)) void __jit_debug_register_code(void) {
    __asm__ volatile("" ::: "memory");
}

static pthread_mutex_t jit_lock = PTHREAD_MUTEX_INITIALIZER;

static void jit_tell(JitEntry *entry, JitAction action) {
    __jit_debug_descriptor.relevant = entry;
    __jit_debug_descriptor.action = action;
    __jit_debug_register_code();
}

static void jit_register(JitEntry *entry) {
    pthread_mutex_lock(&jit_lock);
    entry->next = __jit_debug_descriptor.first;
    if (entry->next) entry->next->previous = entry;
    __jit_debug_descriptor.first = entry;
    jit_tell(entry, JIT_REGISTER);
    pthread_mutex_unlock(&jit_lock);
}

static void jit_unregister(JitEntry *entry) {
    pthread_mutex_lock(&jit_lock);
    if (entry->previous)
        entry->previous->next = entry->next;
    else
        __jit_debug_descriptor.first = entry->next;
    if (entry->next) entry->next->previous = entry->previous;
    jit_tell(entry, JIT_UNREGISTER);
    pthread_mutex_unlock(&jit_lock);
}

// ---- the file's bytes

struct ObjectFile {
    JitEntry jit;
    StrBuf bytes;
};

static void bytes_add(StrBuf *out, const void *bytes, size_t count) {
    strbuf_add(out, (Str){bytes, count});
}

static uint32_t name_add(StrBuf *names, Str name) {
    uint32_t at = (uint32_t)names->len;
    strbuf_add(names, name);
    strbuf_addc(names, 0);
    return at;
}

static void headers_add(StrBuf *out, const ObjectImage *image, uint64_t sections_at) {
    Elf64_Ehdr header = {.e_type = ET_EXEC,
                         .e_machine = EM_X86_64,
                         .e_version = EV_CURRENT,
                         .e_entry = image->entry.address,
                         .e_phoff = sizeof header,
                         .e_shoff = sections_at,
                         .e_ehsize = sizeof header,
                         .e_phentsize = sizeof(Elf64_Phdr),
                         .e_phnum = 1,
                         .e_shentsize = sizeof(Elf64_Shdr),
                         .e_shnum = (uint16_t)(image->count + 3),
                         .e_shstrndx = (uint16_t)(image->count + 2)};
    memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_ident[EI_VERSION] = EV_CURRENT;
    Elf64_Phdr load = {.p_type = PT_LOAD,
                       .p_flags = PF_R | PF_X,
                       .p_offset = IMAGE_AT,
                       .p_vaddr = (uint64_t)(uintptr_t)image->base,
                       .p_filesz = image->bytes,
                       .p_memsz = image->bytes,
                       .p_align = IMAGE_AT};
    memcpy(out->ptr, &header, sizeof header);
    memcpy(out->ptr + sizeof header, &load, sizeof load);
}

static bool holds(const ObjectSection *s, const ObjectImage *image) {
    uint64_t at = image->entry.address - (uint64_t)(uintptr_t)image->base;
    return s->flags & SHF_ALLOC && at >= s->place && at < s->place + s->bytes;
}

// Section headers go to `table`, names to `names`; returns the number of the section with the
// function.
static uint16_t sections_add(StrBuf *table, StrBuf *names, const ObjectImage *image) {
    Elf64_Shdr none = {0};
    uint16_t code = SHN_ABS;
    bytes_add(table, &none, sizeof none);
    for (uint32_t i = 0; i < image->count; i++) {
        const ObjectSection *s = &image->sections[i];
        bool allocated = s->flags & SHF_ALLOC;
        Elf64_Shdr header = {.sh_name = name_add(names, s->name),
                             .sh_type = SHT_PROGBITS,
                             .sh_flags = s->flags & (SHF_ALLOC | SHF_EXECINSTR),
                             .sh_offset = IMAGE_AT + s->place,
                             .sh_size = s->bytes,
                             .sh_addralign = 1};
        if (allocated) header.sh_addr = (uint64_t)(uintptr_t)image->base + s->place;
        if (holds(s, image)) code = (uint16_t)(i + 1);
        bytes_add(table, &header, sizeof header);
    }
    return code;
}

static void file_make(StrBuf *out, const ObjectImage *image) {
    StrBuf names = {0}, table = {0};
    name_add(&names, STR(""));
    Elf64_Sym symbols[SYMBOLS] = {0};
    symbols[1] = (Elf64_Sym){.st_name = name_add(&names, image->name),
                             .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC),
                             .st_shndx = sections_add(&table, &names, image),
                             .st_value = image->entry.address,
                             .st_size = image->entry.bytes};
    static const char empty[IMAGE_AT];
    bytes_add(out, empty, sizeof empty);
    bytes_add(out, image->base, image->bytes);
    Elf64_Shdr symbol_table = {.sh_name = name_add(&names, STR(".symtab")),
                               .sh_type = SHT_SYMTAB,
                               .sh_offset = out->len,
                               .sh_size = sizeof symbols,
                               .sh_link = image->count + 2,
                               .sh_info = 1,
                               .sh_addralign = 8,
                               .sh_entsize = sizeof symbols[0]};
    bytes_add(out, symbols, sizeof symbols);
    uint32_t strings_name = name_add(&names, STR(".strtab"));
    Elf64_Shdr strings = {.sh_name = strings_name,
                          .sh_type = SHT_STRTAB,
                          .sh_offset = out->len,
                          .sh_size = names.len,
                          .sh_addralign = 1};
    while (names.len % 8 != 0)
        strbuf_addc(&names, 0);
    strbuf_add(out, strbuf_view(&names));
    headers_add(out, image, out->len);
    bytes_add(&table, &symbol_table, sizeof symbol_table);
    bytes_add(&table, &strings, sizeof strings);
    strbuf_add(out, strbuf_view(&table));
    strbuf_release(&names);
    strbuf_release(&table);
}

// ---- publishing

static Str file_path(Arena *scratch, const ObjectImage *image) {
    Str name = str_copy(scratch, image->name);
    char *text = arena_strndup(scratch, name.ptr, name.len);
    for (char *slash = text; (slash = strchr(slash, '/')) != NULL;)
        *slash = '_';
    return str_printf(scratch, "%.*s/%s-%ld-%llx.elf", STR_ARG(image->folder), text,
                      (long)getpid(), (unsigned long long)(uintptr_t)image->base);
}

static bool map_over(Diag *diag, const ObjectImage *image, Str path) {
    int fd = open(path.ptr, O_RDONLY | O_CLOEXEC);
    void *at = MAP_FAILED;
    if (fd >= 0) {
        at = mmap(image->base, image->bytes, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, fd,
                  IMAGE_AT);
        close(fd);
    }
    return at != MAP_FAILED ||
           diag_file_error(diag, FAIL_ENVIRONMENT, path, "it cannot be mapped as code");
}

bool object_file_open(Diag *diag, const ObjectImage *image, ObjectFile **out) {
    Arena scratch = {0};
    ObjectFile *file = calloc(1, sizeof *file);
    if (file == NULL) BUG("no memory");
    file_make(&file->bytes, image);
    Str path = file_path(&scratch, image);
    bool ok = io_make_directories(diag, image->folder) &&
              io_write(diag, path, file->bytes.ptr, file->bytes.len) &&
              map_over(diag, image, path);
    arena_release(&scratch);
    if (!ok) {
        strbuf_release(&file->bytes);
        free(file);
        return false;
    }
    file->jit.file = file->bytes.ptr;
    file->jit.bytes = file->bytes.len;
    jit_register(&file->jit);
    *out = file;
    return true;
}

void object_file_close(ObjectFile *file) {
    if (file == NULL) return;
    jit_unregister(&file->jit);
    strbuf_release(&file->bytes);
    free(file);
}
