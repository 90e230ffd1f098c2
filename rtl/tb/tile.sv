// A core and its router with the registers of their links, for benches that wire tiles in C++: rtl/tb/tiles_main.cpp.
//
// The same modules as in chip.sv. No output depends on an input of the same cycle, so tiles can be evaluated in any order.
module tile #(
    parameter int X_BITS            = 2,
    parameter int Y_BITS            = 2,
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
    parameter int FLIT_BITS         = 27,
    localparam int TICK_BITS        = 16
) (
    input  logic                 clock,
    input  logic                 reset,
    input  logic [   X_BITS-1:0] here_x,
    input  logic [   Y_BITS-1:0] here_y,
    input  logic [   Y_BITS-1:0] port_y,
    input  logic                 load_valid,
    input  logic [          2:0] load_memory,
    input  logic [         31:0] load_address,
    input  logic [         63:0] load_data,
    input  logic                 go,
    input  logic [TICK_BITS-1:0] tick,
    input  logic                 stream,
    output logic                 busy,            // a core at work or a flit under way
    output logic                 restless,        // that, or a credit under way: the tile must be clocked
    // the sides east, west, north, south; the registers of a link are its sender's
    input  logic [          3:0] in_valid,
    input  logic [         63:0] in_flit[4],
    output logic [          3:0] in_credit,
    output logic [          3:0] out_valid,
    output logic [         63:0] out_flit[4],
    input  logic [          3:0] out_credit
);
  localparam int LOCAL = 4;
  logic [4:0] from_valid, to_valid, freed, returned;
  logic [5*FLIT_BITS-1:0] from_flit, to_flit;
  logic router_busy, core_busy, core_valid, core_credit, eject_valid;
  logic [FLIT_BITS-1:0] core_flit, eject_flit;
  logic [4:0] register_busy, credit_busy, unused_data;

  router #(
      .X_BITS(X_BITS), .Y_BITS(Y_BITS), .FLIT_BITS(FLIT_BITS), .BUFFER_FLITS(BUFFER_FLITS), .ROUTER_CYCLES(ROUTER_CYCLES)
  ) router (
      .clock, .reset, .here_x, .here_y,
      .restart(go),
      .in_valid(to_valid), .in_flit(to_flit), .in_credit(freed),
      .out_valid(from_valid), .out_flit(from_flit), .out_credit(returned),
      .busy(router_busy)
  );

  core #(
      .X_BITS(X_BITS), .Y_BITS(Y_BITS), .AXONS(AXONS), .COLUMNS(COLUMNS), .MAX_FOLD(MAX_FOLD),
      .POTENTIAL_BITS(POTENTIAL_BITS), .THRESHOLD_BITS(THRESHOLD_BITS), .TARGETS(TARGETS), .MAX_DELAY(MAX_DELAY),
      .WORD_BITS(WORD_BITS), .START_CYCLES(START_CYCLES), .COLUMNS_PER_CYCLE(COLUMNS_PER_CYCLE),
      .BUFFER_FLITS(BUFFER_FLITS), .FLIT_BITS(FLIT_BITS), .TICK_BITS(TICK_BITS)
  ) core (
      .clock, .reset, .here_x, .here_y, .port_y,
      .load_valid, .load_memory, .load_address, .load_data,
      .go, .tick, .stream,
      .busy(core_busy),
      .out_valid(core_valid), .out_flit(core_flit), .out_credit(core_credit),
      .in_valid(eject_valid), .in_flit(eject_flit)
  );

  for (genvar side = 0; side < 4; side++) begin : g_side
    logic [FLIT_BITS-1:0] leaves;
    assign to_valid[side] = in_valid[side];
    assign to_flit[FLIT_BITS*side+:FLIT_BITS] = in_flit[side][FLIT_BITS-1:0];
    assign returned[side] = out_credit[side];
    // the way to the host has one register, of ejection, however many a link has
    logic sends_host, host_busy, link_busy, host_valid, link_valid;
    logic [FLIT_BITS-1:0] host_flit, link_flit;
    assign sends_host = side == 1 && here_x == '0;
    delay #(.CYCLES(LINK_CYCLES), .WIDTH(FLIT_BITS)) link (
        .clock, .reset,
        .valid_in(from_valid[side] & !sends_host), .data_in(from_flit[FLIT_BITS*side+:FLIT_BITS]),
        .valid_out(link_valid), .data_out(link_flit), .busy(link_busy)
    );
    delay #(.CYCLES(1), .WIDTH(FLIT_BITS)) eject (
        .clock, .reset,
        .valid_in(from_valid[side] & sends_host), .data_in(from_flit[FLIT_BITS*side+:FLIT_BITS]),
        .valid_out(host_valid), .data_out(host_flit), .busy(host_busy)
    );
    assign out_valid[side] = sends_host ? host_valid : link_valid;
    assign leaves = sends_host ? host_flit : link_flit;
    assign out_flit[side] = 64'(leaves);
    assign register_busy[side] = link_busy | host_busy;
    delay #(.CYCLES(CREDIT_CYCLES - 1), .WIDTH(1)) credit (
        .clock, .reset,
        .valid_in(freed[side]), .data_in(1'b0), .valid_out(in_credit[side]),
        .data_out(unused_data[side]), .busy(credit_busy[side])
    );
  end

  assign to_valid[LOCAL] = core_valid;
  assign to_flit[FLIT_BITS*LOCAL+:FLIT_BITS] = core_flit;
  assign returned[LOCAL] = 1'b0;
  delay #(.CYCLES(CREDIT_CYCLES - 1), .WIDTH(1)) local_credit (
      .clock, .reset,
      .valid_in(freed[LOCAL]), .data_in(1'b0), .valid_out(core_credit),
      .data_out(unused_data[LOCAL]), .busy(credit_busy[LOCAL])
  );
  delay #(.CYCLES(1), .WIDTH(FLIT_BITS)) eject (
      .clock, .reset,
      .valid_in(from_valid[LOCAL]), .data_in(from_flit[FLIT_BITS*LOCAL+:FLIT_BITS]),
      .valid_out(eject_valid), .data_out(eject_flit), .busy(register_busy[LOCAL])
  );

  assign busy = router_busy | core_busy | (|register_busy);
  assign restless = busy | (|credit_busy);
endmodule
