// Bits and fields of Verilator's ports, whatever their width makes of them.
#pragma once
#include <cstdint>

#include "verilated.h"

template <class Port>
bool bit(const Port& port, int at) {
    return port >> at & 1;
}
template <std::size_t words>
bool bit(const VlWide<words>& port, int at) {
    return port[at / 32] >> at % 32 & 1;
}
template <class Port>
void set_bit(Port& port, int at, bool value) {
    const Port mask = Port{1} << at;
    port = value ? port | mask : port & ~mask;
}
template <std::size_t words>
void set_bit(VlWide<words>& port, int at, bool value) {
    const EData mask = EData{1} << at % 32;
    port[at / 32] = value ? port[at / 32] | mask : port[at / 32] & ~mask;
}

// A port of 64-bit flits, one an element: a single one is an integer, several are words.
inline std::uint64_t flit(const QData& port, int) { return port; }
inline void set_flit(QData& port, int, std::uint64_t value) { port = value; }
template <std::size_t words>
std::uint64_t flit(const VlWide<words>& port, int at) {
    return static_cast<std::uint64_t>(port[2 * at + 1]) << 32 | port[2 * at];
}
template <std::size_t words>
void set_flit(VlWide<words>& port, int at, std::uint64_t value) {
    port[2 * at] = static_cast<EData>(value);
    port[2 * at + 1] = static_cast<EData>(value >> 32);
}
