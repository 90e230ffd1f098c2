// A crossbar core. docs/timing.md, "A tick": latch, rows, sweep, fire, lookup, inject.
//
//   latch   an ejected flit sets an axon bit in the bank of a later tick; it never waits
//   rows    a cycle for each axon bit that is set, and one for a word without any: the row's columns are counted
//   sweep   neuron by neuron, COLUMNS_PER_CYCLE columns a cycle: the counts are merged into the potential
//   fire    potential >= threshold; the neuron waits in `fired` until the table has time for it
//   lookup  an entry of the target table a cycle, read ahead: it is there in the cycle after the neuron's update
//   inject  the flit goes, if there is a credit of the router's local FIFO; else it waits, and the sweep does not
//
// The tick's first cycle is 0. Rows are issued from START_CYCLES - 1 on and added a cycle later; before that the first word of
// the bank is fetched. So START_CYCLES is 2 or more.
module core #(
    parameter int X_BITS            = 2,
    parameter int Y_BITS            = 2,
    parameter int AXONS             = 64,  // rows
    parameter int COLUMNS           = 64,
    parameter int MAX_FOLD          = 4,
    parameter int POTENTIAL_BITS    = 12,
    parameter int THRESHOLD_BITS    = 11,
    parameter int TARGETS           = 128,
    parameter int MAX_DELAY         = 3,
    parameter int WORD_BITS         = 64,
    parameter int START_CYCLES      = 4,
    parameter int COLUMNS_PER_CYCLE = 4,
    parameter int BUFFER_FLITS      = 4,
    parameter int FLIT_BITS         = 27,
    parameter int TICK_BITS         = 16
) (
    input  logic                 clock,
    input  logic                 reset,
    input  logic [   X_BITS-1:0] here_x,
    input  logic [   Y_BITS-1:0] here_y,
    input  logic [   Y_BITS-1:0] port_y,       // potentials go there
    // load: registers and memories, a word a cycle
    input  logic                 load_valid,
    input  logic [          2:0] load_memory,
    input  logic [         31:0] load_address,
    input  logic [         63:0] load_data,
    // barrier
    input  logic                 go,           // a tick begins in the next cycle
    input  logic [TICK_BITS-1:0] tick,         // that tick's number
    input  logic                 stream,       // work in every tick
    output logic                 busy,
    // network
    output logic                 out_valid,
    output logic [FLIT_BITS-1:0] out_flit,
    input  logic                 out_credit,
    input  logic                 in_valid,
    input  logic [FLIT_BITS-1:0] in_flit
);
  localparam int AXON_BITS = $clog2(MAX_FOLD * AXONS);
  localparam int DELAY_BITS = $clog2(MAX_DELAY + 1);
  localparam int NEURON_BITS = $clog2(COLUMNS);
  localparam int POINTER_BITS = $clog2(TARGETS);
  localparam int ENTRY_BITS = Y_BITS + X_BITS + AXON_BITS + DELAY_BITS;
  localparam int PLACE_BITS = Y_BITS + X_BITS;
  localparam int ROW_BITS = $clog2(AXONS);
  localparam int COUNT_BITS = $clog2(AXONS + 1);  // of a column: at most every row adds 1
  localparam int BANKS = MAX_DELAY + 1;
  localparam int WORDS = (MAX_FOLD * AXONS + WORD_BITS - 1) / WORD_BITS;  // of a bank
  localparam int WORD_AT = WORDS > 1 ? $clog2(WORDS) : 1;
  localparam int RING_AT = $clog2(BANKS * WORDS);
  localparam int BIT_AT = WORD_BITS > 1 ? $clog2(WORD_BITS) : 1;
  localparam int PARTS = (COLUMNS + 63) / 64;  // of a crossbar row, as it is loaded
  localparam int CREDIT_BITS = $clog2(BUFFER_FLITS + 1);

  // ---- registers and memories
  localparam logic [2:0] SETUP = 0, CROSSBAR = 1, THRESHOLD = 2, POINTER = 3, TABLE = 4, RING = 5;
  logic enabled, readout;
  logic [3:0] fold_log2;
  logic [1:0] weight_log2;
  logic [NEURON_BITS:0] neurons;
  logic [WORD_AT:0] words;  // of the fold's rows
  logic [TICK_BITS-1:0] my_tick;
  logic [THRESHOLD_BITS-1:0] threshold[COLUMNS];
  logic [POINTER_BITS:0] pointer[COLUMNS];  // {sends anything, first entry}
  logic [ENTRY_BITS:0] table_memory[TARGETS];  // {last of the neuron, y, x, axon, delay}
  logic [WORD_BITS-1:0] ring[BANKS*WORDS];

  always_ff @(posedge clock)
    if (reset) enabled <= 1'b0;
    else if (load_valid && load_memory == SETUP)
      case (load_address[2:0])
        3'd0: enabled <= load_data[0];
        3'd1: readout <= load_data[0];
        3'd2: fold_log2 <= load_data[3:0];
        3'd3: weight_log2 <= load_data[1:0];
        3'd4: neurons <= load_data[NEURON_BITS:0];
        3'd5: words <= load_data[WORD_AT:0];
        3'd6: my_tick <= load_data[TICK_BITS-1:0];
        default: ;
      endcase
  always_ff @(posedge clock)
    if (load_valid && load_memory == THRESHOLD)
      threshold[load_address[NEURON_BITS-1:0]] <= load_data[THRESHOLD_BITS-1:0];
  always_ff @(posedge clock)
    if (load_valid && load_memory == POINTER) pointer[load_address[NEURON_BITS-1:0]] <= load_data[POINTER_BITS:0];
  always_ff @(posedge clock)
    if (load_valid && load_memory == TABLE) table_memory[load_address[POINTER_BITS-1:0]] <= load_data[ENTRY_BITS:0];

  // ---- phases
  typedef enum logic [2:0] {
    IDLE,
    START,
    ROWS,
    LAST_ROW,
    SWEEP
  } phase_t;
  phase_t phase;
  logic [31:0] waited;
  logic starts, fetches;
  logic [$clog2(BANKS)-1:0] bank;
  assign starts  = go & enabled & (stream | tick == my_tick);
  assign fetches = phase == START && waited == START_CYCLES - 2;

  always_ff @(posedge clock)
    if (reset) bank <= '0;
    else if (go) bank <= bank == ($clog2(BANKS))'(MAX_DELAY) ? '0 : bank + 1'b1;

  // ---- latch
  logic [DELAY_BITS-1:0] delay_in;
  logic [AXON_BITS-1:0] axon_in;
  logic [$clog2(BANKS):0] later;
  logic [$clog2(BANKS)-1:0] bank_in;
  logic [RING_AT-1:0] ring_in;
  assign delay_in = in_flit[DELAY_BITS-1:0];
  assign axon_in = in_flit[DELAY_BITS+:AXON_BITS];
  assign later = ($clog2(BANKS) + 1)'(bank) + ($clog2(BANKS) + 1)'(delay_in);
  assign bank_in = ($clog2(BANKS))'(32'(later) > MAX_DELAY ? 32'(later) - BANKS : 32'(later));
  logic unused_place;  // the mesh has brought it here
  assign unused_place = ^in_flit[FLIT_BITS-1:DELAY_BITS+AXON_BITS];
  assign ring_in = RING_AT'(32'(bank_in) * WORDS + 32'(axon_in) / WORD_BITS);

  // ---- rows: word of the bank, lowest bit that is set, row of the crossbar, counts
  logic [WORD_BITS-1:0] word, rest;
  logic [WORD_AT:0] word_at;  // the next word's number
  logic [RING_AT-1:0] ring_at;
  logic [ROW_BITS-1:0] word_row;  // row of its first bit
  logic [COLUMNS-1:0] word_slice;  // columns of that bit's segment
  logic next_word, issues, word_ends, last_word;
  logic [ROW_BITS-1:0] event_row;
  logic wraps;
  logic [COLUMNS-1:0] row_bits, event_slice, adds;
  logic event_valid;

  assign rest = word & (word - 1'b1);
  assign issues = phase == ROWS && word != '0;
  assign word_ends = phase == ROWS && rest == '0;
  assign next_word = fetches | (word_ends & !last_word);
  assign last_word = word_at == words;
  assign ring_at = RING_AT'(32'(bank) * WORDS + 32'(word_at));
  assign wraps = 32'(word_row) + 32'(lowest_bit(word)) >= AXONS;
  assign event_row = ROW_BITS'(32'(word_row) + 32'(lowest_bit(word)) - (wraps ? AXONS : 0));

  function automatic logic [BIT_AT-1:0] lowest_bit(input logic [WORD_BITS-1:0] bits);
    logic [WORD_BITS-1:0] left;
    left = bits;
    lowest_bit = '0;
    for (int k = BIT_AT - 1; k >= 0; k--)
      if ((left & ((WORD_BITS'(1) << (1 << k)) - 1'b1)) == '0) begin
        lowest_bit[k] = 1'b1;
        left = left >> (1 << k);
      end
  endfunction

  // columns of segment 0: bit b of neuron j in segment s is in column (j * fold + s) * weight bits + b
  function automatic logic [COLUMNS-1:0] first_slice(input logic [3:0] fold, input logic [1:0] weight);
    for (int c = 0; c < COLUMNS; c++) first_slice[c] = ((c >> weight) & ((1 << fold) - 1)) == 0;
  endfunction

  always_ff @(posedge clock) begin
    if (in_valid) ring[ring_in][BIT_AT'(32'(axon_in) % WORD_BITS)] <= 1'b1;
    if (next_word) ring[ring_at] <= '0;
    if (load_valid && load_memory == RING) ring[load_address[RING_AT-1:0]] <= load_data[WORD_BITS-1:0];
  end

  always_ff @(posedge clock) begin
    if (next_word) begin
      word <= ring[ring_at];
      word_at <= word_at + 1'b1;
    end else if (phase == ROWS) word <= rest;
    if (starts) begin
      word_at <= '0;
      word_row <= '0;
      word_slice <= first_slice(fold_log2, weight_log2);
    end else if (word_ends) begin
      word_row <= ROW_BITS'(32'(word_row) + WORD_BITS >= AXONS ? 32'(word_row) + WORD_BITS - AXONS : 32'(word_row) + WORD_BITS);
      if (32'(word_row) + WORD_BITS >= AXONS) word_slice <= word_slice << (1 << weight_log2);
    end
    event_valid <= issues;
    event_slice <= wraps ? word_slice << (1 << weight_log2) : word_slice;
  end

  for (genvar p = 0; p < PARTS; p++) begin : g_crossbar
    localparam int SIZE = COLUMNS - 64 * p < 64 ? COLUMNS - 64 * p : 64;
    logic [SIZE-1:0] bits[AXONS];
    logic [SIZE-1:0] read;
    always_ff @(posedge clock) begin
      if (load_valid && load_memory == CROSSBAR && load_address % PARTS == p)
        bits[ROW_BITS'(load_address/PARTS)] <= load_data[SIZE-1:0];
      if (issues) read <= bits[event_row];
    end
    assign row_bits[64*p+:SIZE] = read;
  end

  // state: for each column a count, later the potential of the neuron whose first column it is; bit by bit, all columns
  logic clears, keeps;
  logic [NEURON_BITS-1:0] keep_at;
  logic [POTENTIAL_BITS-1:0] potential;
  assign adds   = event_valid ? row_bits & event_slice : '0;
  assign clears = phase == START;
  for (genvar k = 0; k < POTENTIAL_BITS; k++) begin : g_state
    logic [COLUMNS-1:0] bits, carry;
    if (k == 0) begin : g_carry
      assign carry = adds;
    end else if (k < COUNT_BITS) begin : g_carry
      assign carry = g_state[k-1].carry & g_state[k-1].bits;
    end else begin : g_carry
      assign carry = '0;
    end
    always_ff @(posedge clock)
      if (clears) bits <= '0;
      else if (event_valid) bits <= bits ^ carry;
      else if (keeps) bits[keep_at] <= potential[k];
  end

  // ---- sweep and fire
  logic [NEURON_BITS-1:0] neuron, column;
  logic [NEURON_BITS:0] left;  // columns of the neuron that are not merged yet
  logic [POTENTIAL_BITS-1:0] merged, sum;
  logic [NEURON_BITS:0] width;
  logic updates, spike, sends_now;
  assign width = (NEURON_BITS + 1)'(1 << (32'(fold_log2) + 32'(weight_log2)));
  assign updates = phase == SWEEP && 32'(left) <= COLUMNS_PER_CYCLE;
  assign keeps = updates;
  assign keep_at = NEURON_BITS'(32'(neuron) << (32'(fold_log2) + 32'(weight_log2)));
  assign potential = sum;
  assign spike = !readout && 32'($signed(potential)) >= 32'($signed(threshold[neuron]));
  assign sends_now = updates & (readout | (spike & pointer[neuron][POINTER_BITS]));

  for (genvar lane = 0; lane < COLUMNS_PER_CYCLE; lane++) begin : g_lane
    logic [NEURON_BITS-1:0] at;
    logic [POTENTIAL_BITS-1:0] count, value, total;
    logic [2:0] place;  // bit of the weight
    assign at = column + NEURON_BITS'(lane);
    for (genvar k = 0; k < POTENTIAL_BITS; k++) begin : g_count
      assign count[k] = g_state[k].bits[at];
    end
    assign place = 3'(32'(at) & ((1 << weight_log2) - 1));
    assign value = count << place;
    if (lane == 0) begin : g_total
      assign total = merged + share(value, lane, place, left, weight_log2);
    end else begin : g_total
      assign total = g_lane[lane-1].total + share(value, lane, place, left, weight_log2);
    end
  end
  assign sum = g_lane[COLUMNS_PER_CYCLE-1].total;

  // what a column adds: nothing beyond the neuron; the highest bit of a weight of several bits counts negative
  function automatic logic [POTENTIAL_BITS-1:0] share(
      input logic [POTENTIAL_BITS-1:0] value_in, input int lane_in, input logic [2:0] place_in,
      input logic [NEURON_BITS:0] left_in, input logic [1:0] weight
  );
    if (lane_in >= 32'(left_in)) share = '0;
    else if (weight != 0 && 32'(place_in) == (1 << weight) - 1) share = -value_in;
    else share = value_in;
  endfunction

  always_ff @(posedge clock)
    if (phase == SWEEP) begin
      column <= column + NEURON_BITS'(updates ? 32'(left) : COLUMNS_PER_CYCLE);
      left   <= updates ? width : left - (NEURON_BITS + 1)'(COLUMNS_PER_CYCLE);
      merged <= updates ? '0 : sum;
      neuron <= neuron + NEURON_BITS'(updates);
    end else begin
      column <= '0;
      left   <= width;
      merged <= '0;
      neuron <= '0;
    end

  always_ff @(posedge clock)
    if (reset) phase <= IDLE;
    else
      case (phase)
        START: if (fetches) phase <= ROWS;
        ROWS: if (word_ends && last_word) phase <= LAST_ROW;
        LAST_ROW: phase <= SWEEP;
        SWEEP: if (updates && (NEURON_BITS + 1)'(neuron) + 1'b1 == neurons) phase <= IDLE;
        default: if (starts) phase <= START;
      endcase
  always_ff @(posedge clock) waited <= phase == START ? waited + 1 : 0;

  // ---- lookup and inject
  logic [COLUMNS-1:0] fired;  // neurons whose packets wait for the table
  logic have, moves_on, more, waits;
  logic [NEURON_BITS-1:0] shown, waiting, next_neuron, shown_at;
  logic [POINTER_BITS-1:0] address, next_address;
  logic [ENTRY_BITS:0] entry;
  logic [POTENTIAL_BITS-1:0] shown_potential;
  logic [CREDIT_BITS-1:0] credits;
  assign out_valid = have && credits != '0;
  assign more = have & !readout & !entry[ENTRY_BITS];
  assign moves_on = !have | (out_valid & !more);  // to the packets of another neuron
  assign waits = fired != '0;
  assign waiting = first_neuron(fired);
  assign next_neuron = waits ? waiting : neuron;
  assign next_address = moves_on ? pointer[next_neuron][POINTER_BITS-1:0] : out_valid ? address + 1'b1 : address;

  function automatic logic [NEURON_BITS-1:0] first_neuron(input logic [COLUMNS-1:0] bits);
    logic [COLUMNS-1:0] left_over;
    left_over = bits;
    first_neuron = '0;
    for (int k = NEURON_BITS - 1; k >= 0; k--)
      if ((left_over & ((COLUMNS'(1) << (1 << k)) - 1'b1)) == '0) begin
        first_neuron[k] = 1'b1;
        left_over = left_over >> (1 << k);
      end
  endfunction

  always_ff @(posedge clock) begin
    if (reset) begin
      have  <= 1'b0;
      fired <= '0;
    end else begin
      if (moves_on) begin
        have  <= waits | sends_now;
        shown <= next_neuron;
        if (waits) fired[waiting] <= 1'b0;
      end
      if (sends_now && !(moves_on && !waits)) fired[neuron] <= 1'b1;
    end
    address <= next_address;
    entry   <= table_memory[next_address];
  end

  always_ff @(posedge clock)
    if (reset) credits <= CREDIT_BITS'(BUFFER_FLITS);
    else credits <= credits + CREDIT_BITS'(out_credit) - CREDIT_BITS'(out_valid);

  assign shown_at = NEURON_BITS'(32'(shown) << (32'(fold_log2) + 32'(weight_log2)));
  for (genvar k = 0; k < POTENTIAL_BITS; k++) begin : g_shown
    assign shown_potential[k] = g_state[k].bits[shown_at];
  end
  localparam int PAYLOAD_BITS = FLIT_BITS - 1 - PLACE_BITS;
  assign out_flit = readout
      ? {1'b1, port_y, X_BITS'(0), PAYLOAD_BITS'({here_y, here_x, shown, shown_potential})}
      : {1'b0, entry[ENTRY_BITS-1-:PLACE_BITS], PAYLOAD_BITS'(entry[AXON_BITS+DELAY_BITS-1:0])};

  assign busy = phase != IDLE || have || waits;
endmodule
