version 1.0

# Aligns and calls variants: two tasks, each one Batch job.

workflow variants {
  input {
    File reference
    File reads_1
    File reads_2
    String tools
  }
  call align { input: reference = reference, reads_1 = reads_1, reads_2 = reads_2, tools = tools }
  call call_variants { input: reference = reference, bam = align.bam, tools = tools }
  output {
    File vcf = call_variants.vcf
    Int found = call_variants.found
  }
}

task align {
  input {
    File reference
    File reads_1
    File reads_2
    String tools
  }
  command <<<
    export PATH=~{tools}:$PATH
    cp ~{reference} r.fa
    bwa index r.fa
    bwa mem r.fa ~{reads_1} ~{reads_2} > a.sam
    samtools sort -o a.bam a.sam
  >>>
  output { File bam = "a.bam" }
  runtime { docker: "genomics-tools"
    cpu: 1
    memory: "512 MiB" }
}

task call_variants {
  input {
    File reference
    File bam
    String tools
  }
  command <<<
    export PATH=~{tools}:$PATH
    cp ~{reference} r.fa
    samtools faidx r.fa
    bcftools mpileup -Ou -f r.fa -o a.bcf ~{bam}
    bcftools call --ploidy 1 -mv -Ov -o a.vcf a.bcf
    grep -vc '^#' a.vcf
  >>>
  output {
    File vcf = "a.vcf"
    Int found = read_int(stdout())
  }
  runtime { docker: "genomics-tools"
    cpu: 1
    memory: "512 MiB" }
}
