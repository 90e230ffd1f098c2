// The host of chip.sv: loads its memories, sends frames, writes all that the chip does.
//
//     chip_main MEMORY FRAMES TRACE LAST_TICK STREAM TICKS       (files: host.h)
//
// Frame n is sent in tick n of a stream (STREAM 1), else in tick 0 of its own ticks 0 to LAST_TICK. It stops after TICKS ticks.
#include <cinttypes>
#include <cstdlib>
#include <memory>

#include "Vchip.h"
#include "Vchip__Dpi.h"
#include "host.h"

namespace {
constexpr std::int64_t LONGEST = 10'000'000;  // cycles of a tick
Trace* trace;
}  // namespace

void trace_sent(int x, int y, long long flit) { trace->add(trace->cycle, SENT, y * WIDTH + x, flit); }
void trace_ejected(int x, int y, long long flit) { trace->add(trace->cycle + 1, EJECTED, y * WIDTH + x, flit); }
void trace_update(int x, int y, int neuron, int potential, int spike) {
    trace->add(trace->cycle, UPDATE, y * WIDTH + x, 2 * neuron + spike, potential);
}

int main(int argc, char** argv) {
    if (argc != 7) return std::fprintf(stderr, "usage: chip_main MEMORY FRAMES TRACE LAST_TICK STREAM TICKS\n"), 2;
    Host host{BUFFER_FLITS};
    Trace records{argv[3]};
    trace = &records;
    if (!host.read(argv[1], argv[2]) || !records.good()) return std::fprintf(stderr, "a file cannot be read\n"), 3;
    const long last_tick = std::atol(argv[4]), ticks = std::atol(argv[6]);
    const bool stream = std::atoi(argv[5]);

    const auto context = std::make_unique<VerilatedContext>();
    const auto chip = std::make_unique<Vchip>(context.get());
    const auto clock = [&] {
        chip->clock = 1;
        chip->eval();
        chip->clock = 0;
        chip->eval();
    };
    chip->clock = 0;
    chip->run = chip->load_valid = chip->host_busy = chip->host_valid = 0;
    chip->stream = stream;
    chip->last_tick = last_tick;
    chip->reset = 1;
    chip->eval();
    clock();
    chip->reset = 0;
    for (const Load& load : host.loads) {
        chip->load_valid = 1;
        chip->load_core = load.router;
        chip->load_memory = load.memory;
        chip->load_data = load.data;
        for (unsigned word = 0; word < load.count; ++word) {
            chip->load_address = load.address + word;
            clock();
        }
    }
    chip->load_valid = 0;
    chip->run = 1;
    chip->eval();

    for (;; ++records.cycle) {
        if (chip->begins) {
            if (records.tick >= 0) records.add(records.cycle, LENGTH, 0, 0);
            if (++records.tick == ticks) break;
            records.cycle = 0;
            if (stream) host.begin_frame(records.tick);
            else if (chip->tick == 0) host.begin_frame(records.tick / (last_tick + 1));
        }
        if (records.cycle == LONGEST) return std::fprintf(stderr, "tick %" PRId64 " does not end\n", records.tick), 1;
        if (chip->to_host_valid) records.add(records.cycle + 1, TO_HOST, 0, chip->to_host_flit);
        chip->host_busy = host.busy();
        chip->host_valid = host.sends();
        if (chip->host_valid) {
            chip->host_flit = host.send();
            records.add(records.cycle, SENT_HOST, 0, chip->host_flit);
        }
        host.credits += chip->host_credit;
        chip->eval();
        clock();
    }
    chip->final();
    return records.close() ? 0 : 3;
}
