// What a core does, told to the C++ bench in the cycle in which it happens; bound into every core, no part of the chip.
module trace #(
    parameter int X_BITS         = 2,
    parameter int Y_BITS         = 2,
    parameter int FLIT_BITS      = 27,
    parameter int NEURON_BITS    = 6,
    parameter int POTENTIAL_BITS = 12
) (
    input logic                      clock,
    input logic [        X_BITS-1:0] here_x,
    input logic [        Y_BITS-1:0] here_y,
    input logic                      out_valid,
    input logic [     FLIT_BITS-1:0] out_flit,
    input logic                      in_valid,
    input logic [     FLIT_BITS-1:0] in_flit,
    input logic                      updates,
    input logic [   NEURON_BITS-1:0] neuron,
    input logic [POTENTIAL_BITS-1:0] potential,
    input logic                      spike
);
  import "DPI-C" function void trace_sent(input int x, input int y, input longint flit);
  import "DPI-C" function void trace_ejected(input int x, input int y, input longint flit);
  import "DPI-C" function void trace_update(
    input int x, input int y, input int neuron, input int potential, input int spike
  );

  always_ff @(posedge clock) begin
    if (out_valid) trace_sent(32'(here_x), 32'(here_y), 64'(out_flit));
    if (in_valid) trace_ejected(32'(here_x), 32'(here_y), 64'(in_flit));
    if (updates) trace_update(32'(here_x), 32'(here_y), 32'(neuron), 32'($signed(potential)), 32'(spike));
  end
endmodule

bind core trace #(
    .X_BITS(X_BITS), .Y_BITS(Y_BITS), .FLIT_BITS(FLIT_BITS), .NEURON_BITS(NEURON_BITS), .POTENTIAL_BITS(POTENTIAL_BITS)
) trace (
    .clock, .here_x, .here_y, .out_valid, .out_flit, .in_valid, .in_flit, .updates, .neuron, .potential, .spike
);
