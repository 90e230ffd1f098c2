// A chip: WIDTH x HEIGHT cores on a mesh, a barrier between ticks, one port to the host beside router (0, PORT_Y).
//
// Parameters are the keys of a chip's YAML. The host writes the memories (load_*), one word a cycle, then raises `run`.
// `begins` marks the first cycle of a tick; the host may send from that cycle on and holds `host_busy` while it has more.
module chip #(
    parameter int WIDTH             = 4,
    parameter int HEIGHT            = 4,
    parameter int PORT_Y            = 0,
    parameter int AXONS             = 64,
    parameter int COLUMNS           = 64,
    parameter int MAX_FOLD          = 4,
    parameter int POTENTIAL_BITS    = 12,
    parameter int THRESHOLD_BITS    = 11,
    parameter int TARGETS           = 128,
    parameter int MAX_DELAY         = 3,
    parameter int WORD_BITS         = 64,
    parameter int START_CYCLES      = 4,
    parameter int COLUMNS_PER_CYCLE = 4,
    parameter int ROUTER_CYCLES     = 2,
    parameter int LINK_CYCLES       = 1,
    parameter int CREDIT_CYCLES     = 1,
    parameter int BUFFER_FLITS      = 4,
    parameter int SYNC_CYCLES       = 12,  // sync_cycles_per_hop * (WIDTH + HEIGHT - 2), 1 or more
    localparam int X_BITS           = WIDTH > 1 ? $clog2(WIDTH) : 1,
    localparam int Y_BITS           = HEIGHT > 1 ? $clog2(HEIGHT) : 1,
    localparam int PACKET_BITS      = $clog2(MAX_FOLD * AXONS) + $clog2(MAX_DELAY + 1),
    localparam int READOUT_BITS     = Y_BITS + X_BITS + $clog2(COLUMNS) + POTENTIAL_BITS,
    localparam int FLIT_BITS        = 1 + Y_BITS + X_BITS + (PACKET_BITS > READOUT_BITS ? PACKET_BITS : READOUT_BITS),
    localparam int TICK_BITS        = 16
) (
    input  logic                 clock,
    input  logic                 reset,
    input  logic                 load_valid,
    input  logic [         15:0] load_core,     // router number
    input  logic [          2:0] load_memory,
    input  logic [         31:0] load_address,
    input  logic [         63:0] load_data,
    input  logic                 run,
    input  logic                 stream,        // every core works in every tick
    input  logic [TICK_BITS-1:0] last_tick,     // of a frame
    output logic                 begins,
    output logic [TICK_BITS-1:0] tick,
    input  logic                 host_busy,
    input  logic                 host_valid,
    input  logic [FLIT_BITS-1:0] host_flit,
    output logic                 host_credit,
    output logic                 to_host_valid,
    output logic [FLIT_BITS-1:0] to_host_flit
);
  localparam int CORES = WIDTH * HEIGHT;
  logic [CORES-1:0] core_valid, core_credit, to_core_valid, core_busy;
  logic [CORES*FLIT_BITS-1:0] core_flit, to_core_flit;
  logic go, mesh_busy;
  logic [TICK_BITS-1:0] next_tick;

  mesh #(
      .WIDTH(WIDTH), .HEIGHT(HEIGHT), .PORT_Y(PORT_Y), .X_BITS(X_BITS), .Y_BITS(Y_BITS), .FLIT_BITS(FLIT_BITS),
      .BUFFER_FLITS(BUFFER_FLITS), .ROUTER_CYCLES(ROUTER_CYCLES), .LINK_CYCLES(LINK_CYCLES), .CREDIT_CYCLES(CREDIT_CYCLES)
  ) mesh (
      .clock, .reset,
      .restart(go),
      .core_valid, .core_flit, .core_credit, .to_core_valid, .to_core_flit,
      .host_valid, .host_flit, .host_credit, .to_host_valid, .to_host_flit,
      .busy(mesh_busy)
  );

  for (genvar r = 0; r < CORES; r++) begin : g_core
    core #(
        .X_BITS(X_BITS), .Y_BITS(Y_BITS), .AXONS(AXONS), .COLUMNS(COLUMNS), .MAX_FOLD(MAX_FOLD),
        .POTENTIAL_BITS(POTENTIAL_BITS), .THRESHOLD_BITS(THRESHOLD_BITS), .TARGETS(TARGETS), .MAX_DELAY(MAX_DELAY),
        .WORD_BITS(WORD_BITS), .START_CYCLES(START_CYCLES), .COLUMNS_PER_CYCLE(COLUMNS_PER_CYCLE),
        .BUFFER_FLITS(BUFFER_FLITS), .FLIT_BITS(FLIT_BITS), .TICK_BITS(TICK_BITS)
    ) core (
        .clock, .reset,
        .here_x(X_BITS'(r % WIDTH)),
        .here_y(Y_BITS'(r / WIDTH)),
        .port_y(Y_BITS'(PORT_Y)),
        .load_valid(load_valid && load_core == 16'(r)),
        .load_memory, .load_address, .load_data, .go,
        .tick(next_tick),
        .stream,
        .busy(core_busy[r]),
        .out_valid(core_valid[r]),
        .out_flit(core_flit[FLIT_BITS*r+:FLIT_BITS]),
        .out_credit(core_credit[r]),
        .in_valid(to_core_valid[r]),
        .in_flit(to_core_flit[FLIT_BITS*r+:FLIT_BITS])
    );
  end

  barrier #(.CYCLES(SYNC_CYCLES)) barrier (
      .clock, .reset, .run,
      .busy(|core_busy | mesh_busy | host_busy),
      .go
  );

  assign next_tick = tick == last_tick ? '0 : tick + 1'b1;
  always_ff @(posedge clock)
    if (reset | !run) tick <= last_tick;
    else if (go) tick <= next_tick;
  always_ff @(posedge clock) begins <= go & !reset;
endmodule
