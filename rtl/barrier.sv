// The barrier between ticks: CYCLES after the chip has come to rest the next tick begins.
//
// On a die the bit "at rest" of each core and router goes through a tree of registers to a corner, and the start back from
// there, corner to corner and back. Every bit must be of the same cycle, or a flit could slip through between two of them, and
// every core must start in the same cycle: what is nearer to the corner waits in registers of its own. So the tree acts as
// the CYCLES registers that stand here behind one AND; retiming spreads them.
module barrier #(
    parameter int CYCLES = 12  // 1 or more
) (
    input  logic clock,
    input  logic reset,
    input  logic run,   // else nothing begins
    input  logic busy,
    output logic go     // a tick begins in the next cycle
);
  logic reported, reports;
  logic unused_data, unused_busy;
  assign reports = run & !busy & !reported;

  always_ff @(posedge clock)
    if (reset | go) reported <= 1'b0;
    else if (reports) reported <= 1'b1;

  delay #(.CYCLES(CYCLES - 1), .WIDTH(1)) tree (
      .clock, .reset,
      .valid_in(reports), .data_in(1'b0), .valid_out(go), .data_out(unused_data), .busy(unused_busy)
  );
endmodule
