// wgmma.cuh: products of tiles in shared memory by a warpgroup of sm_90a, one width at a time:
//
//     #define WGMMA_N 128  // 8 to 256, a multiple of 8
//     #include "wgmma.cuh"
//     #undef WGMMA_N
//
// gives wgmma_bf16<N, ACROSS_A, ACROSS_B>(float (&d)[N / 2], u64 a, u64 b, int accumulate)
// and wgmma_f16. It may be repeated for other widths; only the text of the widths in use is
// compiled. tests/simt/wgmma.cuh has the same names for all widths.
//
// d[64 x N] = a[64 x 16] b[16 x N], plus d if accumulate. a and b are descriptors: from
// wgmma_tile_along_k where ACROSS_ is 0 (as it is if left out), wgmma_tile_across_k where it
// is 1. With warp w = thread / 32 % 4 and lane l, element 4 j + e of d is that of
// row 16 w + l / 4 + 8 (e / 2), column 8 j + 2 (l % 4) + e % 2.

// The registers of 8 j columns: names in the text, and constraints.
#define WGMMA_TEXT1  "%0,%1,%2,%3"
#define WGMMA_TEXT2  WGMMA_TEXT1 ",%4,%5,%6,%7"
#define WGMMA_TEXT3  WGMMA_TEXT2 ",%8,%9,%10,%11"
#define WGMMA_TEXT4  WGMMA_TEXT3 ",%12,%13,%14,%15"
#define WGMMA_TEXT5  WGMMA_TEXT4 ",%16,%17,%18,%19"
#define WGMMA_TEXT6  WGMMA_TEXT5 ",%20,%21,%22,%23"
#define WGMMA_TEXT7  WGMMA_TEXT6 ",%24,%25,%26,%27"
#define WGMMA_TEXT8  WGMMA_TEXT7 ",%28,%29,%30,%31"
#define WGMMA_TEXT9  WGMMA_TEXT8 ",%32,%33,%34,%35"
#define WGMMA_TEXT10 WGMMA_TEXT9 ",%36,%37,%38,%39"
#define WGMMA_TEXT11 WGMMA_TEXT10 ",%40,%41,%42,%43"
#define WGMMA_TEXT12 WGMMA_TEXT11 ",%44,%45,%46,%47"
#define WGMMA_TEXT13 WGMMA_TEXT12 ",%48,%49,%50,%51"
#define WGMMA_TEXT14 WGMMA_TEXT13 ",%52,%53,%54,%55"
#define WGMMA_TEXT15 WGMMA_TEXT14 ",%56,%57,%58,%59"
#define WGMMA_TEXT16 WGMMA_TEXT15 ",%60,%61,%62,%63"
#define WGMMA_TEXT17 WGMMA_TEXT16 ",%64,%65,%66,%67"
#define WGMMA_TEXT18 WGMMA_TEXT17 ",%68,%69,%70,%71"
#define WGMMA_TEXT19 WGMMA_TEXT18 ",%72,%73,%74,%75"
#define WGMMA_TEXT20 WGMMA_TEXT19 ",%76,%77,%78,%79"
#define WGMMA_TEXT21 WGMMA_TEXT20 ",%80,%81,%82,%83"
#define WGMMA_TEXT22 WGMMA_TEXT21 ",%84,%85,%86,%87"
#define WGMMA_TEXT23 WGMMA_TEXT22 ",%88,%89,%90,%91"
#define WGMMA_TEXT24 WGMMA_TEXT23 ",%92,%93,%94,%95"
#define WGMMA_TEXT25 WGMMA_TEXT24 ",%96,%97,%98,%99"
#define WGMMA_TEXT26 WGMMA_TEXT25 ",%100,%101,%102,%103"
#define WGMMA_TEXT27 WGMMA_TEXT26 ",%104,%105,%106,%107"
#define WGMMA_TEXT28 WGMMA_TEXT27 ",%108,%109,%110,%111"
#define WGMMA_TEXT29 WGMMA_TEXT28 ",%112,%113,%114,%115"
#define WGMMA_TEXT30 WGMMA_TEXT29 ",%116,%117,%118,%119"
#define WGMMA_TEXT31 WGMMA_TEXT30 ",%120,%121,%122,%123"
#define WGMMA_TEXT32 WGMMA_TEXT31 ",%124,%125,%126,%127"
#define WGMMA_4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define WGMMA_D1  WGMMA_4(0)
#define WGMMA_D2  WGMMA_D1, WGMMA_4(4)
#define WGMMA_D3  WGMMA_D2, WGMMA_4(8)
#define WGMMA_D4  WGMMA_D3, WGMMA_4(12)
#define WGMMA_D5  WGMMA_D4, WGMMA_4(16)
#define WGMMA_D6  WGMMA_D5, WGMMA_4(20)
#define WGMMA_D7  WGMMA_D6, WGMMA_4(24)
#define WGMMA_D8  WGMMA_D7, WGMMA_4(28)
#define WGMMA_D9  WGMMA_D8, WGMMA_4(32)
#define WGMMA_D10 WGMMA_D9, WGMMA_4(36)
#define WGMMA_D11 WGMMA_D10, WGMMA_4(40)
#define WGMMA_D12 WGMMA_D11, WGMMA_4(44)
#define WGMMA_D13 WGMMA_D12, WGMMA_4(48)
#define WGMMA_D14 WGMMA_D13, WGMMA_4(52)
#define WGMMA_D15 WGMMA_D14, WGMMA_4(56)
#define WGMMA_D16 WGMMA_D15, WGMMA_4(60)
#define WGMMA_D17 WGMMA_D16, WGMMA_4(64)
#define WGMMA_D18 WGMMA_D17, WGMMA_4(68)
#define WGMMA_D19 WGMMA_D18, WGMMA_4(72)
#define WGMMA_D20 WGMMA_D19, WGMMA_4(76)
#define WGMMA_D21 WGMMA_D20, WGMMA_4(80)
#define WGMMA_D22 WGMMA_D21, WGMMA_4(84)
#define WGMMA_D23 WGMMA_D22, WGMMA_4(88)
#define WGMMA_D24 WGMMA_D23, WGMMA_4(92)
#define WGMMA_D25 WGMMA_D24, WGMMA_4(96)
#define WGMMA_D26 WGMMA_D25, WGMMA_4(100)
#define WGMMA_D27 WGMMA_D26, WGMMA_4(104)
#define WGMMA_D28 WGMMA_D27, WGMMA_4(108)
#define WGMMA_D29 WGMMA_D28, WGMMA_4(112)
#define WGMMA_D30 WGMMA_D29, WGMMA_4(116)
#define WGMMA_D31 WGMMA_D30, WGMMA_4(120)
#define WGMMA_D32 WGMMA_D31, WGMMA_4(124)

// N, both lists, and the operands behind them: a, b, accumulate, ACROSS_A, ACROSS_B.
#define WGMMA_ROW8   8, WGMMA_TEXT1, (WGMMA_D1), "%4", "%5", "%6", "%7", "%8"
#define WGMMA_ROW16  16, WGMMA_TEXT2, (WGMMA_D2), "%8", "%9", "%10", "%11", "%12"
#define WGMMA_ROW24  24, WGMMA_TEXT3, (WGMMA_D3), "%12", "%13", "%14", "%15", "%16"
#define WGMMA_ROW32  32, WGMMA_TEXT4, (WGMMA_D4), "%16", "%17", "%18", "%19", "%20"
#define WGMMA_ROW40  40, WGMMA_TEXT5, (WGMMA_D5), "%20", "%21", "%22", "%23", "%24"
#define WGMMA_ROW48  48, WGMMA_TEXT6, (WGMMA_D6), "%24", "%25", "%26", "%27", "%28"
#define WGMMA_ROW56  56, WGMMA_TEXT7, (WGMMA_D7), "%28", "%29", "%30", "%31", "%32"
#define WGMMA_ROW64  64, WGMMA_TEXT8, (WGMMA_D8), "%32", "%33", "%34", "%35", "%36"
#define WGMMA_ROW72  72, WGMMA_TEXT9, (WGMMA_D9), "%36", "%37", "%38", "%39", "%40"
#define WGMMA_ROW80  80, WGMMA_TEXT10, (WGMMA_D10), "%40", "%41", "%42", "%43", "%44"
#define WGMMA_ROW88  88, WGMMA_TEXT11, (WGMMA_D11), "%44", "%45", "%46", "%47", "%48"
#define WGMMA_ROW96  96, WGMMA_TEXT12, (WGMMA_D12), "%48", "%49", "%50", "%51", "%52"
#define WGMMA_ROW104 104, WGMMA_TEXT13, (WGMMA_D13), "%52", "%53", "%54", "%55", "%56"
#define WGMMA_ROW112 112, WGMMA_TEXT14, (WGMMA_D14), "%56", "%57", "%58", "%59", "%60"
#define WGMMA_ROW120 120, WGMMA_TEXT15, (WGMMA_D15), "%60", "%61", "%62", "%63", "%64"
#define WGMMA_ROW128 128, WGMMA_TEXT16, (WGMMA_D16), "%64", "%65", "%66", "%67", "%68"
#define WGMMA_ROW136 136, WGMMA_TEXT17, (WGMMA_D17), "%68", "%69", "%70", "%71", "%72"
#define WGMMA_ROW144 144, WGMMA_TEXT18, (WGMMA_D18), "%72", "%73", "%74", "%75", "%76"
#define WGMMA_ROW152 152, WGMMA_TEXT19, (WGMMA_D19), "%76", "%77", "%78", "%79", "%80"
#define WGMMA_ROW160 160, WGMMA_TEXT20, (WGMMA_D20), "%80", "%81", "%82", "%83", "%84"
#define WGMMA_ROW168 168, WGMMA_TEXT21, (WGMMA_D21), "%84", "%85", "%86", "%87", "%88"
#define WGMMA_ROW176 176, WGMMA_TEXT22, (WGMMA_D22), "%88", "%89", "%90", "%91", "%92"
#define WGMMA_ROW184 184, WGMMA_TEXT23, (WGMMA_D23), "%92", "%93", "%94", "%95", "%96"
#define WGMMA_ROW192 192, WGMMA_TEXT24, (WGMMA_D24), "%96", "%97", "%98", "%99", "%100"
#define WGMMA_ROW200 200, WGMMA_TEXT25, (WGMMA_D25), "%100", "%101", "%102", "%103", "%104"
#define WGMMA_ROW208 208, WGMMA_TEXT26, (WGMMA_D26), "%104", "%105", "%106", "%107", "%108"
#define WGMMA_ROW216 216, WGMMA_TEXT27, (WGMMA_D27), "%108", "%109", "%110", "%111", "%112"
#define WGMMA_ROW224 224, WGMMA_TEXT28, (WGMMA_D28), "%112", "%113", "%114", "%115", "%116"
#define WGMMA_ROW232 232, WGMMA_TEXT29, (WGMMA_D29), "%116", "%117", "%118", "%119", "%120"
#define WGMMA_ROW240 240, WGMMA_TEXT30, (WGMMA_D30), "%120", "%121", "%122", "%123", "%124"
#define WGMMA_ROW248 248, WGMMA_TEXT31, (WGMMA_D31), "%124", "%125", "%126", "%127", "%128"
#define WGMMA_ROW256 256, WGMMA_TEXT32, (WGMMA_D32), "%128", "%129", "%130", "%131", "%132"

#define WGMMA_LIST(...) __VA_ARGS__
#define WGMMA_DEFINE(type, n, text, d_list, a, b, accumulate, across_a, across_b)                \
    template <int N, int ACROSS_A = 0, int ACROSS_B = 0>                                         \
    DEVICE void wgmma_##type(float (&d)[n / 2], u64 tile_a, u64 tile_b, int add) {               \
        static_assert(N == n, "WGMMA_N is another width");                                       \
        asm volatile("{ .reg .pred add; setp.ne.b32 add, " accumulate ", 0;\n"                   \
                     "wgmma.mma_async.sync.aligned.m64n" #n "k16.f32." #type "." #type " {" text \
                     "}, " a ", " b ", add, 1, 1, " across_a ", " across_b "; }"                 \
                     : WGMMA_LIST d_list                                                         \
                     : "l"(tile_a), "l"(tile_b), "r"(add), "n"(ACROSS_A), "n"(ACROSS_B));        \
    }
#define WGMMA_DEFINE_ROW(type, row) WGMMA_DEFINE(type, row)
#define WGMMA_JOIN(name, n)         name##n
#define WGMMA_ROW(n)                WGMMA_JOIN(WGMMA_ROW, n)

#ifdef __CUDA_ARCH_FEAT_SM90_ALL
WGMMA_DEFINE_ROW(bf16, WGMMA_ROW(WGMMA_N))
WGMMA_DEFINE_ROW(f16, WGMMA_ROW(WGMMA_N))
#endif
