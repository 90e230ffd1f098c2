// A router of the mesh: five input FIFOs, one grant a cycle and output, round robin, credits. docs/timing.md, "The network".
//
// A flit is {to the host, y, x, payload}. Sides in the order of the arbiter: east, west, north, south, local.
// An input's flit is on the wires in the cycle before it enters the FIFO. An output's flit is on the wires in the cycle of
// its grant; the link, or the ejection register, is outside.
module router #(
    parameter int X_BITS        = 2,
    parameter int Y_BITS        = 2,
    parameter int FLIT_BITS     = 27,
    parameter int BUFFER_FLITS  = 4,
    parameter int ROUTER_CYCLES = 2
) (
    input  logic                   clock,
    input  logic                   reset,
    input  logic [     X_BITS-1:0] here_x,       // place on the mesh
    input  logic [     Y_BITS-1:0] here_y,
    input  logic                   restart,      // a tick begins: the arbiters' turns start anew
    input  logic [            4:0] in_valid,
    input  logic [5*FLIT_BITS-1:0] in_flit,
    output logic [            4:0] in_credit,    // a slot of the input's FIFO is freed
    output logic [            4:0] out_valid,
    output logic [5*FLIT_BITS-1:0] out_flit,
    input  logic [            4:0] out_credit,   // a slot is free again behind the output
    output logic                   busy          // a FIFO holds a flit
);
  localparam int EAST = 0, WEST = 1, NORTH = 2, SOUTH = 3, LOCAL = 4;
  localparam int COUNT_BITS = $clog2(BUFFER_FLITS + 1);
  localparam int SLOT_BITS = BUFFER_FLITS > 1 ? $clog2(BUFFER_FLITS) : 1;
  localparam logic [COUNT_BITS-1:0] FULL = COUNT_BITS'(BUFFER_FLITS);
  localparam logic [SLOT_BITS-1:0] LAST_SLOT = SLOT_BITS'(BUFFER_FLITS - 1);

  logic [            4:0] may_go;      // and it has been in the router long enough
  logic [            4:0] granted;     // inputs whose head is granted in this cycle
  logic [           24:0] asks;        // [5 * output + input]
  logic [           24:0] grant;       // likewise
  logic [            4:0] holds;

  // ---- inputs: FIFO, age of its flits, output that its head asks for
  for (genvar i = 0; i < 5; i++) begin : g_input
    logic [FLIT_BITS-1:0] slots[BUFFER_FLITS];
    logic [SLOT_BITS-1:0] first, next_free;
    logic [COUNT_BITS-1:0] held;   // flits in the FIFO
    logic [COUNT_BITS-1:0] ready;  // flits that have been there for ROUTER_CYCLES - 1 cycles
    logic aged, unused_data, unused_busy;

    delay #(.CYCLES(ROUTER_CYCLES - 1), .WIDTH(1)) age (
        .clock, .reset,
        .valid_in(in_valid[i]), .data_in(1'b0), .valid_out(aged), .data_out(unused_data), .busy(unused_busy)
    );

    always_ff @(posedge clock) begin
      if (reset) begin
        first     <= '0;
        next_free <= '0;
        held      <= '0;
        ready     <= '0;
      end else begin
        if (in_valid[i]) next_free <= next_free == LAST_SLOT ? '0 : next_free + 1'b1;
        if (granted[i]) first <= first == LAST_SLOT ? '0 : first + 1'b1;
        held  <= held + COUNT_BITS'(in_valid[i]) - COUNT_BITS'(granted[i]);
        ready <= ready + COUNT_BITS'(aged) - COUNT_BITS'(granted[i]);
      end
    end
    always_ff @(posedge clock) if (in_valid[i]) slots[next_free] <= in_flit[i*FLIT_BITS+:FLIT_BITS];

    logic [FLIT_BITS-1:0] flit;  // at the head
    logic [X_BITS-1:0] to_x;
    logic [Y_BITS-1:0] to_y;
    logic [4:0] side;
    assign flit = slots[first];
    assign to_x = flit[FLIT_BITS-2-Y_BITS-:X_BITS];
    assign to_y = flit[FLIT_BITS-2-:Y_BITS];
    // first along x, then along y; the host is beyond the west side of its router
    always_comb begin
      side = '0;
      if (to_x > here_x) side[EAST] = 1'b1;
      else if (to_x < here_x) side[WEST] = 1'b1;
      else if (to_y < here_y) side[NORTH] = 1'b1;
      else if (to_y > here_y) side[SOUTH] = 1'b1;
      else if (flit[FLIT_BITS-1]) side[WEST] = 1'b1;
      else side[LOCAL] = 1'b1;
    end
    for (genvar o = 0; o < 5; o++) begin : g_ask
      assign asks[5*o+i] = may_go[i] & side[o];
    end
    assign may_go[i] = ready != '0;
    assign holds[i] = held != '0;
    assign in_credit[i] = granted[i];
  end

  // ---- outputs: round robin from behind the last winner, credits of the FIFO behind, crossbar
  for (genvar o = 0; o < 5; o++) begin : g_output
    logic [4:0] turn;  // one bit: the last winner
    logic [4:0] wants, wins;
    logic open;

    if (o == LOCAL) begin : g_sink
      logic unused;
      assign unused = out_credit[o];
      assign open = 1'b1;  // a core takes every flit
    end else begin : g_credits
      logic [COUNT_BITS-1:0] credits;
      logic leaves;  // to the host, which takes every flit
      assign leaves = o == WEST && here_x == '0;
      assign open = leaves | credits != '0;
      always_ff @(posedge clock)
        if (reset) credits <= FULL;
        else if (!leaves) credits <= credits + COUNT_BITS'(out_credit[o]) - COUNT_BITS'(out_valid[o]);
    end

    assign wants = asks[5*o+:5];
    // the first that asks above the last winner, else the first of all
    logic [4:0] above, upper;
    assign above = ~(turn | (turn - 5'd1));
    assign upper = wants & above;
    assign wins  = upper != '0 ? upper & (~upper + 5'd1) : wants & (~wants + 5'd1);
    assign grant[5*o+:5] = open ? wins : 5'd0;
    assign out_valid[o] = grant[5*o+:5] != '0;

    always_ff @(posedge clock)
      if (reset | restart) turn <= 5'b10000;
      else if (out_valid[o]) turn <= wins;

    assign out_flit[o*FLIT_BITS+:FLIT_BITS] =
        ({FLIT_BITS{wins[EAST]}} & g_input[EAST].flit) | ({FLIT_BITS{wins[WEST]}} & g_input[WEST].flit) |
        ({FLIT_BITS{wins[NORTH]}} & g_input[NORTH].flit) | ({FLIT_BITS{wins[SOUTH]}} & g_input[SOUTH].flit) |
        ({FLIT_BITS{wins[LOCAL]}} & g_input[LOCAL].flit);
  end

  assign granted = grant[0+:5] | grant[5+:5] | grant[10+:5] | grant[15+:5] | grant[20+:5];
  assign busy    = holds != '0;
endmodule
