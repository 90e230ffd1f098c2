// Sends a list of packets through mesh.sv and writes when each was sent and ejected.
//
//     mesh_main TRAFFIC RESULT
//
// TRAFFIC: a line a packet, "source ready host x y", by source and in the order in which a source sends; source CORES is the
// host. RESULT: a line a packet in the same order, "sent ejected", in cycles. Flits are 64 bits wide and carry the packet's line.
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <vector>

#include "Vmesh.h"
#include "wires.h"

namespace {
constexpr long long LONGEST = 10'000'000;  // cycles

struct Packet {
    int source;
    long long ready;
    unsigned host, x, y;
    long long sent = -1, ejected = -1;
};

struct Source {
    std::deque<std::size_t> waiting;
    int credits = BUFFER_FLITS;
};

std::uint64_t flit_of(const Packet& p, std::size_t number) {
    const std::uint64_t place = static_cast<std::uint64_t>(p.host) << (X_BITS + Y_BITS) | p.y << X_BITS | p.x;
    return place << (63 - X_BITS - Y_BITS) | number;
}

std::size_t number_of(std::uint64_t flit) { return flit & ((std::uint64_t{1} << (63 - X_BITS - Y_BITS)) - 1); }
}  // namespace

int main(int argc, char** argv) {
    if (argc != 3) return std::fprintf(stderr, "usage: mesh_main TRAFFIC RESULT\n"), 2;
    std::vector<Packet> packets;
    std::vector<Source> sources(CORES + 1);
    std::FILE* file = std::fopen(argv[1], "r");
    if (!file) return std::perror(argv[1]), 3;
    for (Packet p; std::fscanf(file, "%d %lld %u %u %u", &p.source, &p.ready, &p.host, &p.x, &p.y) == 5; packets.push_back(p))
        sources[p.source].waiting.push_back(packets.size());
    std::fclose(file);

    const auto context = std::make_unique<VerilatedContext>();
    const auto mesh = std::make_unique<Vmesh>(context.get());
    const auto clock = [&] {
        mesh->clock = 0;
        mesh->eval();
        mesh->clock = 1;
        mesh->eval();
    };
    mesh->reset = 1;
    mesh->restart = 0;
    mesh->host_valid = 0;
    for (int s = 0; s < CORES; ++s) set_bit(mesh->core_valid, s, false);
    clock();
    clock();
    mesh->reset = 0;

    std::size_t remaining = packets.size();
    const auto eject = [&](std::uint64_t flit, long long cycle) {
        packets.at(number_of(flit)).ejected = cycle + 1;
        --remaining;
    };
    for (long long t = 0; remaining; ++t) {
        if (t == LONGEST) return std::fprintf(stderr, "%zu packets are still under way\n", remaining), 1;
        mesh->clock = 0;
        mesh->eval();
        for (int s = 0; s <= CORES; ++s) {
            Source& source = sources[s];
            bool sends = false;
            if (!source.waiting.empty() && source.credits) {
                Packet& p = packets[source.waiting.front()];
                sends = p.ready <= t;
                if (sends) {
                    p.sent = t;
                    const std::uint64_t value = flit_of(p, source.waiting.front());
                    if (s < CORES) set_flit(mesh->core_flit, s, value);
                    else mesh->host_flit = value;
                    source.waiting.pop_front();
                    --source.credits;
                }
            }
            if (s < CORES) set_bit(mesh->core_valid, s, sends);
            else mesh->host_valid = sends;
            source.credits += s < CORES ? bit(mesh->core_credit, s) : mesh->host_credit;
            if (s < CORES && bit(mesh->to_core_valid, s)) eject(flit(mesh->to_core_flit, s), t);
        }
        if (mesh->to_host_valid) eject(mesh->to_host_flit, t);
        mesh->eval();
        mesh->clock = 1;
        mesh->eval();
    }
    mesh->final();

    file = std::fopen(argv[2], "w");
    if (!file) return std::perror(argv[2]), 3;
    for (const Packet& p : packets) std::fprintf(file, "%lld %lld\n", p.sent, p.ejected);
    return std::fclose(file) ? 3 : 0;
}
