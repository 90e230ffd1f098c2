// The network: WIDTH x HEIGHT routers, the links between them, an ejection register before every core and before the host.
//
// Router y * WIDTH + x; y grows to the south. The host is at the west side of router (0, PORT_Y).
// A flit that is sent in cycle t enters its FIFO at t + 1; one granted its way out in g is on the wires to_core or to_host in
// g + 1, and whoever takes it has it in g + 2.
module mesh #(
    parameter int WIDTH         = 4,
    parameter int HEIGHT        = 4,
    parameter int PORT_Y        = 0,
    parameter int X_BITS        = 2,
    parameter int Y_BITS        = 2,
    parameter int FLIT_BITS     = 27,
    parameter int BUFFER_FLITS  = 4,
    parameter int ROUTER_CYCLES = 2,
    parameter int LINK_CYCLES   = 1,
    parameter int CREDIT_CYCLES = 1,
    localparam int CORES        = WIDTH * HEIGHT
) (
    input  logic                       clock,
    input  logic                       reset,
    input  logic                       restart,
    input  logic [          CORES-1:0] core_valid,       // what the cores send
    input  logic [CORES*FLIT_BITS-1:0] core_flit,
    output logic [          CORES-1:0] core_credit,
    output logic [          CORES-1:0] to_core_valid,
    output logic [CORES*FLIT_BITS-1:0] to_core_flit,
    input  logic                       host_valid,
    input  logic [      FLIT_BITS-1:0] host_flit,
    output logic                       host_credit,
    output logic                       to_host_valid,
    output logic [      FLIT_BITS-1:0] to_host_flit,
    output logic                       busy              // a flit is in a FIFO or a register
);
  localparam int EAST = 0, WEST = 1, NORTH = 2, LOCAL = 4;
  localparam int FLITS = 5 * FLIT_BITS;

  logic [CORES-1:0] router_busy;
  logic [5*CORES-1:0] register_busy;

  for (genvar r = 0; r < CORES; r++) begin : g_router
    localparam int X = r % WIDTH, Y = r / WIDTH;
    logic [4:0] out_valid, in_valid, in_credit, out_credit;
    logic [FLITS-1:0] out_flit, in_flit;
    router #(
        .X_BITS(X_BITS), .Y_BITS(Y_BITS), .FLIT_BITS(FLIT_BITS),
        .BUFFER_FLITS(BUFFER_FLITS), .ROUTER_CYCLES(ROUTER_CYCLES)
    ) router (
        .clock, .reset, .restart,
        .here_x    (X_BITS'(X)),
        .here_y    (Y_BITS'(Y)),
        .in_valid  (in_valid),
        .in_flit   (in_flit),
        .in_credit (in_credit),
        .out_valid (out_valid),
        .out_flit  (out_flit),
        .out_credit(out_credit),
        .busy      (router_busy[r])
    );

    for (genvar side = 0; side < 4; side++) begin : g_side
      localparam int BACK = side ^ 1;  // east and west, north and south
      localparam bit INSIDE = side == EAST ? X + 1 < WIDTH : side == WEST ? X > 0 : side == NORTH ? Y > 0 : Y + 1 < HEIGHT;
      localparam int NEXT = side == EAST ? r + 1 : side == WEST ? r - 1 : side == NORTH ? r - WIDTH : r + WIDTH;
      if (INSIDE) begin : g_link  // what the neighbour sends here, and the credits that it gives back
        logic unused_data, unused_busy;
        delay #(.CYCLES(LINK_CYCLES), .WIDTH(FLIT_BITS)) link (
            .clock, .reset,
            .valid_in (g_router[NEXT].out_valid[BACK]),
            .data_in  (g_router[NEXT].out_flit[FLIT_BITS*BACK+:FLIT_BITS]),
            .valid_out(in_valid[side]),
            .data_out (in_flit[FLIT_BITS*side+:FLIT_BITS]),
            .busy     (register_busy[5*r+side])
        );
        delay #(.CYCLES(CREDIT_CYCLES - 1), .WIDTH(1)) credit (
            .clock, .reset,
            .valid_in (g_router[NEXT].in_credit[BACK]), .data_in(1'b0),
            .valid_out(out_credit[side]), .data_out(unused_data), .busy(unused_busy)
        );
      end else if (side == WEST && Y == PORT_Y) begin : g_host
        logic unused_data, unused_busy;
        assign in_valid[side] = host_valid;
        assign in_flit[FLIT_BITS*side+:FLIT_BITS] = host_flit;
        assign out_credit[side] = 1'b0;
        delay #(.CYCLES(CREDIT_CYCLES - 1), .WIDTH(1)) credit (
            .clock, .reset,
            .valid_in(in_credit[side]), .data_in(1'b0), .valid_out(host_credit), .data_out(unused_data), .busy(unused_busy)
        );
        delay #(.CYCLES(1), .WIDTH(FLIT_BITS)) eject (
            .clock, .reset,
            .valid_in (out_valid[side]), .data_in (out_flit[FLIT_BITS*side+:FLIT_BITS]),
            .valid_out(to_host_valid),   .data_out(to_host_flit),
            .busy     (register_busy[5*r+side])
        );
      end else begin : g_edge
        logic unused;
        assign unused = |{out_valid[side], out_flit[FLIT_BITS*side+:FLIT_BITS], in_credit[side]};
        assign in_valid[side] = 1'b0;
        assign in_flit[FLIT_BITS*side+:FLIT_BITS] = '0;
        assign out_credit[side] = 1'b0;
        assign register_busy[5*r+side] = 1'b0;
      end
    end

    logic unused_data, unused_busy;
    assign in_valid[LOCAL] = core_valid[r];
    assign in_flit[FLIT_BITS*LOCAL+:FLIT_BITS] = core_flit[FLIT_BITS*r+:FLIT_BITS];
    assign out_credit[LOCAL] = 1'b0;
    delay #(.CYCLES(CREDIT_CYCLES - 1), .WIDTH(1)) credit (
        .clock, .reset,
        .valid_in(in_credit[LOCAL]), .data_in(1'b0), .valid_out(core_credit[r]), .data_out(unused_data), .busy(unused_busy)
    );
    delay #(.CYCLES(1), .WIDTH(FLIT_BITS)) eject (
        .clock, .reset,
        .valid_in (out_valid[LOCAL]),  .data_in (out_flit[FLIT_BITS*LOCAL+:FLIT_BITS]),
        .valid_out(to_core_valid[r]), .data_out(to_core_flit[FLIT_BITS*r+:FLIT_BITS]),
        .busy     (register_busy[5*r+LOCAL])
    );
  end

  assign busy = |router_busy | |register_busy;
endmodule
