// A value that arrives CYCLES later: the registers of a link, of a returning credit, of the barrier.
module delay #(
    parameter int CYCLES = 1,
    parameter int WIDTH  = 1
) (
    input  logic             clock,
    input  logic             reset,
    input  logic             valid_in,
    input  logic [WIDTH-1:0] data_in,
    output logic             valid_out,
    output logic [WIDTH-1:0] data_out,
    output logic             busy        // a register holds something
);
  if (CYCLES == 0) begin : g_wire
    logic unused;
    assign unused    = clock | reset;
    assign valid_out = valid_in;
    assign data_out  = data_in;
    assign busy      = 1'b0;
  end else begin : g_registers
    logic [CYCLES-1:0]       valid;
    logic [CYCLES*WIDTH-1:0] data;

    always_ff @(posedge clock)
      if (reset) valid <= '0;
      else valid <= (valid << 1) | CYCLES'(valid_in);

    always_ff @(posedge clock) data <= (data << WIDTH) | (CYCLES * WIDTH)'(data_in);

    assign valid_out = valid[CYCLES-1];
    assign data_out  = data[CYCLES*WIDTH-1-:WIDTH];
    assign busy      = |valid;
  end
endmodule
