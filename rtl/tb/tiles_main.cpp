// A chip of tiles (tb/tile.sv), one C++ object each, whose links are wired here: what chip.sv is too large to be compiled for.
//
//     tiles_main MEMORY FRAMES TRACE LAST_TICK STREAM TICKS       (as chip_main)
//
// The barrier is counted here too. A tile at rest, to which nothing comes, is not clocked.
#include <cinttypes>
#include <cstdlib>
#include <memory>

#include "Vtile.h"
#include "Vtile__Dpi.h"
#include "host.h"

namespace {
constexpr std::int64_t LONGEST = 10'000'000;  // cycles of a tick
constexpr int TILES = WIDTH * HEIGHT, EAST = 0, WEST = 1, NORTH = 2, SOUTH = 3;
Trace* trace;

// neighbour by a side; -1: none
int neighbour(int tile, int side) {
    const int x = tile % WIDTH, y = tile / WIDTH;
    if (side == EAST) return x + 1 < WIDTH ? tile + 1 : -1;
    if (side == WEST) return x > 0 ? tile - 1 : -1;
    if (side == NORTH) return y > 0 ? tile - WIDTH : -1;
    return y + 1 < HEIGHT ? tile + WIDTH : -1;
}

void clock(Vtile& tile) {
    tile.clock = 1;
    tile.eval();
    tile.clock = 0;
    tile.eval();
}
}  // namespace

void trace_sent(int x, int y, long long flit) { trace->add(trace->cycle, SENT, y * WIDTH + x, flit); }
void trace_ejected(int x, int y, long long flit) { trace->add(trace->cycle + 1, EJECTED, y * WIDTH + x, flit); }
void trace_update(int x, int y, int neuron, int potential, int spike) {
    trace->add(trace->cycle, UPDATE, y * WIDTH + x, 2 * neuron + spike, potential);
}

int main(int argc, char** argv) {
    if (argc != 7) return std::fprintf(stderr, "usage: tiles_main MEMORY FRAMES TRACE LAST_TICK STREAM TICKS\n"), 2;
    Host host{BUFFER_FLITS};
    Trace records{argv[3]};
    trace = &records;
    if (!host.read(argv[1], argv[2]) || !records.good()) return std::fprintf(stderr, "a file cannot be read\n"), 3;
    const long last_tick = std::atol(argv[4]), ticks = std::atol(argv[6]);
    const bool stream = std::atoi(argv[5]);

    const auto context = std::make_unique<VerilatedContext>();
    std::vector<std::unique_ptr<Vtile>> tiles;
    for (int t = 0; t < TILES; ++t) {
        auto tile = std::make_unique<Vtile>(context.get());
        tile->clock = 0;
        tile->here_x = t % WIDTH;
        tile->here_y = t / WIDTH;
        tile->port_y = PORT_Y;
        tile->load_valid = tile->go = tile->in_valid = tile->out_credit = 0;
        tile->tick = last_tick;
        tile->stream = stream;
        tile->reset = 1;
        tile->eval();
        clock(*tile);
        tile->reset = 0;
        tile->eval();
        tiles.push_back(std::move(tile));
    }
    for (const Load& load : host.loads) {
        Vtile& tile = *tiles.at(load.router);
        tile.load_valid = 1;
        tile.load_memory = load.memory;
        tile.load_data = load.data;
        for (unsigned word = 0; word < load.count; ++word) {
            tile.load_address = load.address + word;
            clock(tile);
        }
        tile.load_valid = 0;
    }

    Vtile& door = *tiles[PORT_Y * WIDTH];
    std::int64_t since_rest = -1;  // cycles since the chip came to rest; -1: it works
    bool begins = false;
    long tick = last_tick;
    for (;; ++records.cycle) {
        if (begins) {
            if (records.tick >= 0) records.add(records.cycle, LENGTH, 0, 0);
            if (++records.tick == ticks) break;
            records.cycle = 0;
            if (stream) host.begin_frame(records.tick);
            else if (tick == 0) host.begin_frame(records.tick / (last_tick + 1));
        }
        if (records.cycle == LONGEST) return std::fprintf(stderr, "tick %" PRId64 " does not end\n", records.tick), 1;
        bool busy = host.busy();
        for (int t = 0; t < TILES; ++t) {  // outputs depend on state alone
            Vtile& tile = *tiles[t];
            busy |= tile.busy;
            tile.in_valid = tile.out_credit = 0;
        }
        for (int t = 0; t < TILES; ++t) {
            const Vtile& tile = *tiles[t];
            if (!tile.restless) continue;
            for (int side = 0; side < 4; ++side) {
                const int to = neighbour(t, side);
                if (to < 0) continue;
                if (tile.out_valid >> side & 1) {
                    tiles[to]->in_valid |= 1 << (side ^ 1);
                    tiles[to]->in_flit[side ^ 1] = tile.out_flit[side];
                }
                if (tile.in_credit >> side & 1) tiles[to]->out_credit |= 1 << (side ^ 1);
            }
        }
        if (door.out_valid >> WEST & 1) records.add(records.cycle + 1, TO_HOST, 0, door.out_flit[WEST]);
        const bool freed = door.in_credit >> WEST & 1;
        if (host.sends()) {
            door.in_valid |= 1 << WEST;
            door.in_flit[WEST] = host.send();
            records.add(records.cycle, SENT_HOST, 0, door.in_flit[WEST]);
        }
        host.credits += freed;
        since_rest = busy ? -1 : since_rest + 1;
        begins = since_rest == SYNC_CYCLES - 1;
        if (begins) {
            tick = tick == last_tick ? 0 : tick + 1;
            since_rest = -1;
        }
        for (auto& tile : tiles) {
            const bool first = begins || tile->go;
            tile->go = begins;
            tile->tick = tick;
            if (first || tile->restless || tile->in_valid || tile->out_credit) clock(*tile);
        }
    }
    for (auto& tile : tiles) tile->final();
    return records.close() ? 0 : 3;
}
