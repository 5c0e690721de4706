#!/bin/sh
# Cargo calls this instead of the compiler (RUSTC_WRAPPER): the compiler and its arguments. One crate, `age`, uses a macro that
# writes its code in the order of a hash table, which is a random one; so while that crate is compiled, nothing is random.
case " $* " in
*" --crate-name age "*) LD_PRELOAD=$STEADY exec "$@" ;;
*) exec "$@" ;;
esac
