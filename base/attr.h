// attr.h: the only place for compiler extensions.
#pragma once

#if defined(__GNUC__)
#define MUST_USE               __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define NORETURN               __attribute__((noreturn))
#define UNUSED                 __attribute__((unused))
#else
#define MUST_USE
#define PRINTF_LIKE(fmt, args)
#define NORETURN
#define UNUSED
#endif

// A function for CPUs with these features, at full speed in every build: for measuring the
// machine.
#if defined(__GNUC__) && !defined(__clang__)
#define FAST_ON(features) __attribute__((target(features), optimize("O2")))
#elif defined(__clang__)
#define FAST_ON(features) __attribute__((target(features)))
#else
#define FAST_ON(features)
#endif
