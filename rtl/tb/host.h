// What the benches of a chip share: the host's memories and frames, and the trace.
#pragma once
#include <cstdint>
#include <cstdio>
#include <deque>
#include <fstream>
#include <sstream>
#include <string>
#include <unordered_map>
#include <vector>

enum Kind : std::int64_t {
    SENT,       // by a core; value: flit
    EJECTED,    // to a core; value: flit
    SENT_HOST,  // by the host; value: flit
    TO_HOST,    // value: flit
    UPDATE,     // of a neuron; value: 2 * neuron + spike, more: potential
    LENGTH,     // of a tick; cycle: its cycles
};

// Records of six little-endian int64: tick since the start, cycle in the tick, kind, router, value, more.
class Trace {
public:
    explicit Trace(const char* path) : file{std::fopen(path, "wb")} {}
    bool good() const { return file != nullptr; }
    bool close() { return std::fclose(file) == 0; }
    void add(std::int64_t at, Kind kind, std::int64_t router, std::int64_t value, std::int64_t more = 0) {
        const std::int64_t record[] = {tick, at, kind, router, value, more};
        std::fwrite(record, sizeof record, 1, file);
    }
    std::int64_t tick = -1, cycle = 0;

private:
    std::FILE* file;
};

struct Load {
    unsigned router, memory, address, count;  // so many words from the address on
    std::uint64_t data;
};

// MEMORY: lines "load ROUTER MEMORY ADDRESS COUNT DATA" (DATA hexadecimal) and "host SOURCE FLIT", the host's target table in
// its order.
// FRAMES: a line a frame, the sources that fire.
class Host {
public:
    explicit Host(int buffer_flits) : credits{buffer_flits} {}
    bool read(const char* memory, const char* sources) {
        std::ifstream file{memory};
        std::string word;
        while (file >> word) {
            if (word == "load") {
                Load load;
                file >> load.router >> load.memory >> load.address >> load.count >> std::hex >> load.data >> std::dec;
                loads.push_back(load);
            } else {
                int source;
                std::uint64_t flit;
                file >> source >> flit;
                table[source].push_back(flit);
            }
        }
        std::ifstream lines{sources};
        for (std::string line; std::getline(lines, line);) {
            std::istringstream numbers{line};
            frames.emplace_back();
            for (int source; numbers >> source;) frames.back().push_back(source);
        }
        return !loads.empty();
    }
    void begin_frame(std::size_t number) {
        if (number < frames.size())
            for (int source : frames[number])
                for (std::uint64_t flit : table[source]) waiting.push_back(flit);
    }
    bool busy() const { return !waiting.empty(); }
    bool sends() const { return busy() && credits; }
    std::uint64_t send() {
        const std::uint64_t flit = waiting.front();
        waiting.pop_front();
        --credits;
        return flit;
    }
    std::vector<Load> loads;
    int credits;

private:
    std::unordered_map<int, std::vector<std::uint64_t>> table;
    std::vector<std::vector<int>> frames;
    std::deque<std::uint64_t> waiting;
};
